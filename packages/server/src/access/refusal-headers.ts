import type { ServerError } from '../errors.ts';

/** What is not there now is starting, or being started again. */
const UNAVAILABLE_SECONDS = 5;

/**
 * Headers that go with an answer to who could not be let in, or served: how a login would help, or when to try again. To
 * who is known and may not, nothing of that is said.
 *
 * @param o.basic whether a token may come as the password of HTTP basic auth: see `Authenticator`.
 */
export function refusalHeaders({ code, data }: ServerError, o: { basic?: boolean } = {}): Record<string, string> {
  if (code === 'too-many-attempts') return { 'retry-after': String((data as { retryAfter: number }).retryAfter) };
  if (code === 'unavailable') return { 'retry-after': String(UNAVAILABLE_SECONDS) };
  if (code !== 'unauthenticated') return {};
  const bearer = 'Bearer realm="Treeline"';
  // The first is what people's tools ask for.
  return { 'www-authenticate': o.basic ? `Basic realm="Treeline", charset="UTF-8", ${bearer}` : bearer };
}
