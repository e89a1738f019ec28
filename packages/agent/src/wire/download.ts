import { type ClientRequest, get as getHttp, type IncomingMessage } from 'node:http';
import { get as getHttps, type Agent as HttpsAgent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentError, messageOf } from '../errors.ts';
import type { Throttle } from './throttle.ts';

/** A repository elsewhere. */
export interface Source {
  /** http or https address of the repository. */
  base: string;
  headers(): Record<string, string>;
  agent?: HttpsAgent | undefined;
  /** Silence after which a connection counts as gone. Default 20 s. */
  stallMs?: number | undefined;
}

export interface DownloadOptions {
  throttle: Throttle;
  signal: AbortSignal;
  /** Bytes that are here already. */
  from?: number;
  /** Called once, before the first byte, with the length of what is to come; null when the server does not say. */
  onStart?(length: number | null): void;
  write(chunk: Buffer): Promise<void>;
}

const STALL_MS = 20_000;
/** Attempts in a row that bring not a single byte. */
const ATTEMPTS = 4;
const PAUSE_MS = 500;
const PAUSE_MOST_MS = 8_000;

/**
 * Fetches a file of a repository. A connection that breaks off or stalls is taken up again where it was, as long as each
 * new one brings something.
 *
 * @returns 200 when all of it has arrived, else the status of the refusal
 * @throws AgentError `unreachable`; the signal's reason when it aborts
 */
export async function download(source: Source, path: string, o: DownloadOptions): Promise<number> {
  let have = o.from ?? 0;
  let started = false;
  for (let attempt = 1; ; attempt++) {
    o.signal.throwIfAborted();
    const before = have;
    try {
      const answer = await request(source, path, { from: have, signal: o.signal });
      const status = answer.statusCode ?? 0;
      // What is here already is all there is.
      if (status === 416 && have > 0) return discard(answer, 200);
      if (status !== 200 && status !== 206) {
        if (status >= 500) throw new AgentError('unreachable', `${path}: status ${status}`, { status });
        return discard(answer, status);
      }
      // A server that knows no ranges sends it from the beginning.
      let skip = status === 200 ? have : 0;
      if (!started) {
        started = true;
        const length = answer.headers['content-length'];
        o.onStart?.(length === undefined ? null : Number(length) - skip);
      }
      for await (const data of answer) {
        const chunk = data as Buffer;
        const fresh = skip > 0 ? chunk.subarray(Math.min(skip, chunk.length)) : chunk;
        skip -= chunk.length - fresh.length;
        if (fresh.length === 0) continue;
        await o.throttle.take(fresh.length, o.signal);
        await o.write(fresh);
        have += fresh.length;
      }
      if (!answer.complete) throw new AgentError('unreachable', `${path}: the connection broke off`);
      return 200;
    } catch (error) {
      o.signal.throwIfAborted();
      if (have > before) attempt = 0;
      if (attempt >= ATTEMPTS) {
        const { host } = new URL(source.base);
        throw new AgentError('unreachable', `${host} stopped answering: ${messageOf(error)}`, { cause: error });
      }
      await sleep(Math.min(PAUSE_MS * 2 ** attempt, PAUSE_MOST_MS), undefined, { signal: o.signal });
    }
  }
}

function discard(answer: IncomingMessage, status: number): number {
  answer.resume();
  return status;
}

function request(source: Source, path: string, o: { from: number; signal: AbortSignal }): Promise<IncomingMessage> {
  const url = new URL(`${source.base.replace(/\/+$/, '')}${path}`);
  const stall = source.stallMs ?? STALL_MS;
  const options = {
    headers: { ...source.headers(), ...(o.from > 0 ? { range: `bytes=${o.from}-` } : {}) },
    signal: o.signal,
    timeout: stall,
  };
  return new Promise((resolve, reject) => {
    const outgoing: ClientRequest =
      url.protocol === 'https:'
        ? getHttps(url, { ...options, ...(source.agent === undefined ? {} : { agent: source.agent }) }, resolve)
        : getHttp(url, options, resolve);
    outgoing.on('timeout', () => outgoing.destroy(new AgentError('unreachable', `nothing came for ${stall / 1000} s`)));
    outgoing.on('error', reject);
  });
}
