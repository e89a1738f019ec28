import { z } from 'zod';
import { RunnerError } from '../errors.ts';
import type { BoardRequest, CompleteRequest, HeartbeatRequest, Lease, LeaseRequest } from '../protocol.ts';
import { BoardView, HeartbeatResponse, LeaseResponse, ProtocolError, RUNNER_API_PATH } from '../protocol.ts';

/** What became of a call. Only `unavailable` is worth another try. */
export type Answer<T> =
  | { kind: 'ok'; body: T }
  /** The lease is another's, or nobody's: stop at once. */
  | { kind: 'stale' }
  /** The server understood and said no. */
  | { kind: 'refused'; status: number; message: string }
  /** No answer, or none that means anything. */
  | { kind: 'unavailable'; message: string };

export interface RunnerClient {
  /** Null: there is nothing to do. Throws RunnerError `unauthorized` when the server does not take the token. */
  lease(request: LeaseRequest, signal: AbortSignal): Promise<Answer<Lease | null>>;
  heartbeat(executionId: string, request: HeartbeatRequest, signal: AbortSignal): Promise<Answer<HeartbeatResponse>>;
  complete(executionId: string, request: CompleteRequest, signal: AbortSignal): Promise<Answer<null>>;
  /** Looks at the device of a board job, and points it. */
  board(executionId: string, request: BoardRequest, signal: AbortSignal): Promise<Answer<BoardView>>;
}

const CALL_TIMEOUT_MS = 20_000;

/** Speaks the runner protocol with the server at an address. */
export function createRunnerClient(o: { server: string; token: string }): RunnerClient {
  const call = async <T>(
    path: string,
    body: unknown,
    c: { schema: z.ZodType<T> | null; signal: AbortSignal; timeoutMs: number },
  ): Promise<Answer<T | null>> => {
    let response: Response;
    let text: string;
    try {
      response = await fetch(new URL(RUNNER_API_PATH + path, o.server), {
        method: 'POST',
        headers: { authorization: `Bearer ${o.token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
        redirect: 'error',
        signal: AbortSignal.any([c.signal, AbortSignal.timeout(c.timeoutMs)]),
      });
      text = await response.text();
    } catch (error) {
      return { kind: 'unavailable', message: networkMessage(error) };
    }
    const parsed = parseJson(text);
    if (response.ok) {
      if (!c.schema || response.status === 204) return { kind: 'ok', body: null };
      const checked = c.schema.safeParse(parsed);
      if (checked.success) return { kind: 'ok', body: checked.data };
      const problem = z.prettifyError(checked.error).replaceAll('\n', '; ');
      return { kind: 'unavailable', message: `the server's answer to ${path} is not the protocol's: ${problem}` };
    }
    const said = ProtocolError.safeParse(parsed).data?.error;
    const message = said ? `${said.code}${said.message ? `: ${said.message}` : ''}` : `HTTP ${response.status}`;
    if (response.status === 401 || response.status === 403) {
      return { kind: 'refused', status: response.status, message };
    }
    if (response.status === 404 || response.status === 409) return { kind: 'stale' };
    if (response.status >= 500 || response.status === 408 || response.status === 429) {
      return { kind: 'unavailable', message };
    }
    return { kind: 'refused', status: response.status, message };
  };

  const execution = (id: string): string => `/executions/${encodeURIComponent(id)}`;
  return {
    lease: async (request, signal) => {
      const timeoutMs = request.waitSeconds * 1000 + CALL_TIMEOUT_MS;
      const answer = await call('/lease', request, { schema: LeaseResponse, signal, timeoutMs });
      if (answer.kind === 'refused' && (answer.status === 401 || answer.status === 403)) {
        throw new RunnerError('unauthorized', `the server refuses this runner: ${answer.message}`, {
          hint: 'TREELINE_RUNNER_TOKEN must be the token that the server gave',
        });
      }
      // Only executions can be stale; here it means that this address has no such API (yet).
      if (answer.kind === 'stale') return { kind: 'unavailable', message: 'the server has no runner API here' };
      return answer.kind === 'ok' ? { kind: 'ok', body: answer.body?.lease ?? null } : answer;
    },
    heartbeat: async (id, request, signal) => {
      const options = { schema: HeartbeatResponse, signal, timeoutMs: CALL_TIMEOUT_MS };
      const answer = await call(`${execution(id)}/heartbeat`, request, options);
      if (answer.kind !== 'ok') return answer;
      return { kind: 'ok', body: answer.body ?? { cancel: false } };
    },
    board: async (id, request, signal) => {
      const options = { schema: BoardView, signal, timeoutMs: CALL_TIMEOUT_MS };
      const answer = await call(`${execution(id)}/board`, request, options);
      if (answer.kind !== 'ok') return answer;
      return answer.body === null
        ? { kind: 'unavailable', message: 'an empty answer' }
        : { kind: 'ok', body: answer.body };
    },
    complete: async (id, request, signal) => {
      // The server looks for each object of the outputs before it answers.
      const options = { schema: null, signal, timeoutMs: 10 * CALL_TIMEOUT_MS };
      const answer = await call(`${execution(id)}/complete`, request, options);
      return answer.kind === 'ok' ? { kind: 'ok', body: null } : answer;
    },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** fetch says "fetch failed" and hides the reason in the cause. */
function networkMessage(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message || error.message : error.message;
}
