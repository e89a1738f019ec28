import type { IncomingHttpHeaders } from 'node:http';
import { type Agent, request } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import { AgentError, messageOf } from '../errors.ts';

export interface Answer {
  status: number;
  text: string;
  headers: IncomingHttpHeaders;
}

export interface RequestOptions {
  method?: string;
  headers?: Record<string, string>;
  body?: unknown;
  tls?: ConnectionOptions;
  agent?: Agent;
  signal?: AbortSignal | undefined;
  /** Silence after which the other side counts as gone. */
  timeoutMs?: number;
}

const TIMEOUT = 15_000;
/** Nothing that the agent asks for is larger; a broken server must not fill its memory. */
const ANSWER_LIMIT = 1024 * 1024;

/**
 * One HTTPS request, body and answer as text.
 *
 * @throws AgentError `unreachable` when no whole answer came; every status is an answer.
 */
export function send(url: string, o: RequestOptions = {}): Promise<Answer> {
  const body = o.body === undefined ? undefined : JSON.stringify(o.body);
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) =>
      reject(
        o.signal?.aborted
          ? (o.signal.reason as Error)
          : new AgentError('unreachable', `${new URL(url).host} did not answer: ${messageOf(error)}`, {
              hint: 'What the board runs stays. Is the server up, and is the way to it open?',
              cause: error,
            }),
      );
    const outgoing = request(
      url,
      {
        method: o.method ?? 'GET',
        headers: {
          ...o.headers,
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': `${Buffer.byteLength(body)}` }),
        },
        ...(o.tls ?? {}),
        ...(o.agent === undefined ? {} : { agent: o.agent }),
        ...(o.signal === undefined ? {} : { signal: o.signal }),
        timeout: o.timeoutMs ?? TIMEOUT,
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        let size = 0;
        incoming.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > ANSWER_LIMIT) incoming.destroy(new RangeError('the answer is too large'));
          else chunks.push(chunk);
        });
        incoming.on('error', fail);
        incoming.on('end', () =>
          resolve({
            status: incoming.statusCode ?? 0,
            text: Buffer.concat(chunks).toString('utf8'),
            headers: incoming.headers,
          }),
        );
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new AgentError('unreachable', 'timed out')));
    outgoing.on('error', fail);
    outgoing.end(body);
  });
}

/** The stable code of a refusal; null where the answer is not one of the gateway's (a proxy's, say). */
export function refusalCode(answer: Answer): string | null {
  try {
    const { error } = JSON.parse(answer.text) as { error?: { code?: unknown } };
    return typeof error?.code === 'string' ? error.code : null;
  } catch {
    return null;
  }
}

/** The gateway's own words about a refusal. */
export function refusal(answer: Answer, what: string): AgentError {
  let message = `status ${answer.status}`;
  let hint: string | undefined;
  try {
    const { error } = JSON.parse(answer.text) as { error?: { message?: unknown; hint?: unknown } };
    if (typeof error?.message === 'string') message = error.message;
    if (typeof error?.hint === 'string') hint = error.hint;
  } catch {
    // Not one of our answers: a proxy's, say.
  }
  return new AgentError('refused', `${what}: ${message}`, {
    status: answer.status,
    ...(hint === undefined ? {} : { hint }),
  });
}
