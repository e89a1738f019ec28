import type { ServerError } from '../errors.ts';

/**
 * Headers that go with an answer to who could not be let in: how a login would help, or when to try again. To who is
 * known and may not, nothing of that is said.
 *
 * @param o.basic whether a token may come as the password of HTTP basic auth: see `Authenticator`.
 */
export function refusalHeaders({ code, data }: ServerError, o: { basic?: boolean } = {}): Record<string, string> {
  if (code === 'too-many-attempts') return { 'retry-after': String((data as { retryAfter: number }).retryAfter) };
  if (code !== 'unauthenticated') return {};
  const bearer = 'Bearer realm="Treeline"';
  // The first is what people's tools ask for.
  return { 'www-authenticate': o.basic ? `Basic realm="Treeline", charset="UTF-8", ${bearer}` : bearer };
}
