import type { IncomingMessage } from 'node:http';
import type { Caller } from '../access/caller.ts';
import { ServerError } from '../errors.ts';

/** Who a token belongs to; null = nobody. */
export type Identify = (token: string, address: string | null) => Caller | null | Promise<Caller | null>;

/**
 * Who sends a request: by bearer token, or by basic authentication with the token for its password, since that is what
 * garage-push and URLs can say.
 *
 * @throws ServerError `unauthenticated`
 */
export async function callerOf(request: IncomingMessage, identify: Identify): Promise<Caller> {
  const token = tokenOf(request.headers.authorization ?? '');
  const caller = token === null ? null : await identify(token, request.socket.remoteAddress ?? null);
  if (caller) return caller;
  throw new ServerError('unauthenticated', token === null ? 'a token is required' : 'the token is not valid', {
    hint: 'Send it as a bearer token, or as the password of basic authentication.',
  });
}

function tokenOf(header: string): string | null {
  const [, scheme = '', value = ''] = /^(Bearer|Basic) ([\x21-\x7e]{1,1024})$/i.exec(header) ?? [];
  if (scheme.toLowerCase() === 'bearer') return value;
  if (scheme === '') return null;
  const [, password = ''] = /^[^:]*:([\x21-\x7e]{1,512})$/.exec(Buffer.from(value, 'base64').toString('latin1')) ?? [];
  return password === '' ? null : password;
}
