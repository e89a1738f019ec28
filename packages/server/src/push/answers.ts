import { randomUUID } from 'node:crypto';
import { OstreeError, type PushErrorAnswer, pushErrorAnswer } from '@treeline/ostree';
import type { Logger } from 'pino';
import { refusalHeaders } from '../access/refusal-headers.ts';
import { ServerError } from '../errors.ts';

/** How an error of a push is answered: as the API answers errors. What is nobody's business goes to the log. */
export function answerOf(error: unknown, log: Logger): PushErrorAnswer {
  const requestId = randomUUID();
  const { status, headers, error: body } = error instanceof ServerError ? ofServer(error) : pushErrorAnswer(error);
  const isOurFault = status >= 500 && !hasGone(error) && !(error instanceof OstreeError && error.code === 'no-space');
  if (isOurFault) log.error({ err: error, requestId }, 'a push failed');
  else if (status === 507) log.warn({ err: error, requestId }, 'a push was refused: there is no room for it');
  return { status, ...(headers && { headers }), error: { ...body, requestId } };
}

/** Whether the sender has hung up in the middle: it reads no answer, and goes on with its push when it likes. */
function hasGone(error: unknown): boolean {
  const { code, name } = error as Partial<NodeJS.ErrnoException>;
  return code === 'ECONNRESET' || name === 'AbortError';
}

function ofServer(error: ServerError): PushErrorAnswer {
  const { status, code, message, hint, data } = error;
  const more = { ...(hint === undefined ? {} : { hint }), ...(data === undefined ? {} : { data }) };
  return { status, headers: refusalHeaders(error, { basic: true }), error: { code, message, ...more } };
}
