import { Agent } from 'node:https';
import { z } from 'zod';
import { AgentError } from '../errors.ts';
import { refusal, refusalCode, send } from './request.ts';

const Registered = z.object({
  /** Null: the device may follow any. */
  channel: z.string().nullable(),
  repository: z.string(),
  /** Commits that the server will not offer to this device again. */
  badReleases: z.array(z.string()),
});
/** What the server knows of this device. */
export type Registered = z.infer<typeof Registered>;

export interface ClientOptions {
  /** `https://host:port`. */
  gateway: string;
  /** PEM: the device's certificate and key, and the only CA that is trusted. */
  tls: { cert: string; key: string; ca: string };
  /** Check-in headers of every request. */
  headers(): Record<string, string>;
}

/** The gateway as this device sees it. */
export interface GatewayClient {
  /**
   * Commit that this device should run from a channel; null if there is none.
   *
   * @throws AgentError `other-channel` when an operator let the device follow another one; `unreachable`, `refused`
   */
  offered(channel: string, signal?: AbortSignal): Promise<string | null>;
  /** @throws AgentError `unreachable`, `refused` */
  registered(signal?: AbortSignal): Promise<Registered>;
  /**
   * Delivers a report.
   *
   * @throws AgentError `unreachable`, or `refused` with the status
   */
  deliver(report: { method: string; path: string; body: unknown }, signal?: AbortSignal): Promise<void>;
  close(): void;
}

/** A client with the device's certificate; the server must have one of the pinned CA. */
export function createClient(o: ClientOptions): GatewayClient {
  const agent = new Agent({ keepAlive: true, maxSockets: 2, ...o.tls });
  const base = o.gateway.replace(/\/+$/, '');
  return {
    async offered(channel, signal) {
      const path = channel.split('/').map(encodeURIComponent).join('/');
      const answer = await send(`${base}/ostree/refs/heads/${path}`, { agent, headers: o.headers(), signal });
      const code = answer.status === 404 ? refusalCode(answer) : null;
      if (code === 'not-found') return null;
      if (code === 'other-channel') {
        throw new AgentError('other-channel', `the board no longer follows ${channel}`, { status: answer.status });
      }
      const commit = answer.text.trim();
      if (answer.status !== 200 || !/^[0-9a-f]{64}$/.test(commit)) {
        throw refusal(answer, `the gateway does not say what to run from ${channel}`);
      }
      return commit;
    },
    async registered(signal) {
      const answer = await send(`${base}/device`, { agent, headers: o.headers(), signal });
      const what = 'the gateway does not say what it knows of this board';
      if (answer.status !== 200) throw refusal(answer, what);
      try {
        return Registered.parse(JSON.parse(answer.text));
      } catch (cause) {
        throw new AgentError('refused', `${what}: its answer cannot be understood`, { status: answer.status, cause });
      }
    },
    async deliver(report, signal) {
      const answer = await send(`${base}${report.path}`, {
        agent,
        method: report.method,
        headers: o.headers(),
        body: report.body,
        signal,
      });
      if (answer.status >= 300) throw refusal(answer, `${report.method} ${report.path} was refused`);
    },
    close: () => agent.destroy(),
  };
}
