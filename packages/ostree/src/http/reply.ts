import { OstreeError } from '../errors.ts';
import { type Body, tooLong } from './body.ts';
import type { Answer } from './client.ts';
import { TransientError } from './errors.ts';
import type { Headers } from './response-parser.ts';

/** An answer whose body is still to be read. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  /** Announced bytes of the body, or null when only its end will say. */
  readonly length: number | null;
  readonly body: Body;
  /** Called around waits that are our own (a slow disk): they are not the server's stalling. */
  pause(on: boolean): void;
  /** How errors name what was asked for. */
  readonly what: string;
}

/** The body of an answer, in memory. Throws `corrupt` as soon as it is longer than `limit`. */
export async function readBody({ body, length, what }: Reply, limit: number): Promise<Buffer> {
  if (length !== null && length > limit) {
    body.discard();
    throw tooLong(what, length, limit);
  }
  return body.bytes(limit, what);
}

/** The error for an answer that is neither the file nor that there is none. */
export function refused(what: string, { status, reason, headers }: Answer): OstreeError {
  const message = `${what}: the server answered ${status} ${reason}`.trimEnd();
  if (status >= 500 || status === 429 || status === 408) {
    const seconds = Number(headers['retry-after'] ?? 0);
    return new TransientError(message, { waitMs: Number.isFinite(seconds) ? Math.max(0, seconds) * 1000 : 0 });
  }
  const hint = HINTS[status];
  return new OstreeError('network', message, hint === undefined ? {} : { hint });
}

const HINTS: Record<number, string> = {
  401: 'The server wants credentials: give a client certificate or headers, or https://user:password@… as the URL.',
  407: 'The proxy wants credentials: http://user:password@proxy:port.',
};
