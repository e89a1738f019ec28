import { Agent } from 'node:https';
import { refusal, send } from './request.ts';

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
  /** Commit that this device should run from a channel; null if there is none. */
  offered(channel: string, signal?: AbortSignal): Promise<string | null>;
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
      if (answer.status === 404) return null;
      const commit = answer.text.trim();
      if (answer.status !== 200 || !/^[0-9a-f]{64}$/.test(commit)) {
        throw refusal(answer, `the gateway does not say what to run from ${channel}`);
      }
      return commit;
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
