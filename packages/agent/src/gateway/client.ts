import type { Agent } from 'node:https';
import { z } from 'zod';
import type { Elsewhere } from '../deploy/deployer.ts';
import { AgentError } from '../errors.ts';
import { type Answer, type RequestOptions, refusal, refusalCode, send } from './request.ts';
import { TransferSize } from './transfer-size.ts';

const Registered = z.object({
  /** Null: the device may follow any. */
  channel: z.string().nullable(),
  repository: z.string(),
  /** Commits that the server will not offer to this device again. */
  badReleases: z.array(z.string()),
});
/** What the server knows of this device. */
export type Registered = z.infer<typeof Registered>;

/** What the server wants this board to run. */
export interface Offer {
  commit: string;
  /** Where the board is sent for it; null: the gateway has it. */
  at: Elsewhere | null;
  /** Question about what was changed on this board by hand; null: nobody asks. */
  asks: string | null;
}

export interface ClientOptions {
  /** `https://host:port`. */
  gateway: string;
  /** Connections that prove both sides to each other. */
  agent: Agent;
  /** What the server's clock shows, ms, with each of its answers. */
  onServerTime?: ((time: number) => void) | undefined;
  /** Check-in headers of every request. */
  headers(): Record<string, string>;
}

/** The gateway as this device sees it. */
export interface GatewayClient {
  /**
   * What this device should run from a channel, or instead of it; null if there is nothing.
   *
   * @throws AgentError `other-channel` when an operator let the device follow another one; `unreachable`, `refused`
   */
  offered(channel: string, signal?: AbortSignal): Promise<Offer | null>;
  /** @throws AgentError `unreachable`, `refused` */
  registered(signal?: AbortSignal): Promise<Registered>;
  /**
   * How much of a commit travels to a holder of others; null where the server cannot say.
   *
   * @throws AgentError `unreachable`, `refused`
   */
  size: (commit: string, held: readonly string[], signal?: AbortSignal) => Promise<TransferSize | null>;
  /**
   * Delivers a report.
   *
   * @throws AgentError `unreachable`, or `refused` with the status
   */
  deliver(report: { method: string; path: string; body: unknown }, signal?: AbortSignal): Promise<void>;
}

function questionOf(answer: Answer): string | null {
  const asks = answer.headers['x-treeline-asks'];
  return (typeof asks === 'string' && /^difference ([0-9a-f]{1,64})$/.exec(asks)?.[1]) || null;
}

/** A client with the device's certificate; the server must have one of the pinned CA. */
export function createClient(o: ClientOptions): GatewayClient {
  const base = o.gateway.replace(/\/+$/, '');
  const call = async (path: string, options: Omit<RequestOptions, 'agent'> = {}): Promise<Answer> => {
    const answer = await send(`${base}${path}`, { agent: o.agent, headers: o.headers(), ...options });
    const time = Date.parse(answer.headers.date ?? '');
    if (!Number.isNaN(time)) o.onServerTime?.(time);
    return answer;
  };
  return {
    async offered(channel, signal) {
      const path = channel.split('/').map(encodeURIComponent).join('/');
      // Only who says that he understands it is sent elsewhere.
      const headers = { ...o.headers(), 'x-treeline-can': 'point' };
      const answer = await call(`/ostree/refs/heads/${path}`, { headers, signal });
      const code = answer.status === 404 ? refusalCode(answer) : null;
      if (code === 'not-found') return null;
      if (code === 'other-channel') {
        throw new AgentError('other-channel', `the board no longer follows ${channel}`, { status: answer.status });
      }
      const commit = answer.text.trim();
      if (answer.status !== 200 || !/^[0-9a-f]{64}$/.test(commit)) {
        throw refusal(answer, `the gateway does not say what to run from ${channel}`);
      }
      return { commit, at: elsewhere(answer), asks: questionOf(answer) };
    },
    async registered(signal) {
      const answer = await call('/device', { signal });
      const what = 'the gateway does not say what it knows of this board';
      if (answer.status !== 200) throw refusal(answer, what);
      try {
        return Registered.parse(JSON.parse(answer.text));
      } catch (cause) {
        throw new AgentError('refused', `${what}: its answer cannot be understood`, { status: answer.status, cause });
      }
    },
    async deliver(report, signal) {
      const answer = await call(report.path, { method: report.method, body: report.body, signal });
      if (answer.status >= 300) throw refusal(answer, `${report.method} ${report.path} was refused`);
    },
    async size(commit, held, signal) {
      const query = [`commit=${commit}`, ...held.map((one) => `have=${one}`)].join('&');
      const answer = await call(`/device/download?${query}`, { signal });
      // A server that does not know the question, or not the commit.
      if (answer.status === 404) return null;
      const what = 'the gateway does not say how large the release is';
      if (answer.status !== 200) throw refusal(answer, what);
      try {
        return TransferSize.parse(JSON.parse(answer.text));
      } catch (cause) {
        throw new AgentError('refused', `${what}: its answer cannot be understood`, { status: answer.status, cause });
      }
    },
  };
}

/** Where an answer sends the board. @throws AgentError `refused` for something that is no address */
function elsewhere(answer: Answer): Elsewhere | null {
  const { 'x-treeline-at': url, 'x-treeline-ref': ref } = answer.headers;
  if (typeof url !== 'string') return null;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new AgentError('refused', `the gateway sends this board to "${url}", which is no address of a repository`);
  }
  return { url, ref: typeof ref === 'string' ? ref : null };
}
