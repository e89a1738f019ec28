import type { IncomingMessage } from 'node:http';
import { ServerError } from '../errors.ts';
import { type AddressReader, clientKey } from './address.ts';
import type { Caller } from './caller.ts';
import type { FailedLogins } from './failed-logins.ts';
import type { RootTokens } from './root-tokens.ts';
import type { Throttle } from './throttle.ts';
import { hashToken, readTokenText } from './token-text.ts';
import type { TokenProblem, Tokens } from './tokens.ts';

/** What of a request tells who sends it. */
export type Asking = Pick<IncomingMessage, 'headers' | 'method' | 'socket'>;

/** Finds out who sends a request. */
export interface Authenticator {
  /**
   * The caller that a request's Authorization header proves, or without one its client certificate.
   *
   * @param o.basic whether a token may come as the password of HTTP basic auth, with any user name.
   * @throws ServerError `unauthenticated`, whose data is `{credentials: boolean}`: whether there were any;
   * `too-many-attempts`, whose data is `{retryAfter}` in seconds.
   */
  authenticate(req: Asking, o?: { basic?: boolean }): Caller;
}

export interface AuthenticatorDeps {
  roots: RootTokens;
  tokens: Tokens;
  /** Session of the embedded runner that a token was made for; null when it is none. */
  sessionOf(token: string): string | null;
  throttle: Throttle;
  failures: FailedLogins;
  addressOf: AddressReader;
  /** Common name in the client certificate of the connection, if it was checked and found good. */
  certificateOf(req: Asking): string | null;
}

/**
 * A right token is never held up by the failures of others: only what could be a guess has to wait. At an address from
 * which many guesses came, that is everything but tokens that exist, and of those the ones that were guessed at there.
 */
export function createAuthenticator(deps: AuthenticatorDeps): Authenticator {
  const { roots, tokens, throttle } = deps;

  /** Whose token it is, however often somebody tried. */
  const identify = (text: string, address: string | null): Caller | TokenProblem => {
    const root = roots.check(text);
    if (root !== null) return rootCaller(root, { session: null, address });
    const found = tokens.find(text);
    return typeof found === 'string' ? found : tokens.callerOf(found, address);
  };

  const byToken = (text: string, address: string | null): Caller => {
    const session = deps.sessionOf(text);
    if (session !== null) return rootCaller('runner', { session, address });
    const client = clientKey(address ?? '');
    // The tokens in files cannot be named without being right, unless somebody put words of their own there.
    const known = tokens.isNamed(text) || (isGenerated(text) && roots.check(text) !== null);
    const guessed = `${client} ${text.slice(0, 11)}`;
    const proven = `${client} ${hashToken(text).toString('base64url')}`;
    const addressWait = throttle.wait(client);
    if (!throttle.hasSucceeded(proven)) {
      const wait = known ? throttle.wait(guessed) : addressWait;
      if (wait > 0) throw tooMany(addressWait || wait);
    }
    const found = identify(text, address);
    if (typeof found !== 'string') {
      throttle.succeeded(proven);
      return found;
    }
    if (known) throttle.failed(guessed);
    if (addressWait === 0) throttle.failed(client);
    deps.failures.note(address, known ? text.slice(3, 11) : null);
    // Otherwise a wrong secret of a token that exists would be told apart from one of none.
    if (addressWait > 0) throw tooMany(addressWait);
    throw new ServerError('unauthenticated', PROBLEMS[found].message, {
      hint: PROBLEMS[found].hint,
      data: { credentials: true },
    });
  };

  return {
    authenticate(req, { basic = false } = {}) {
      const address = deps.addressOf(req);
      const header = req.headers.authorization;
      if (header !== undefined) {
        const text = tokenIn(header, basic);
        if (/^Basic /i.test(header)) refuseOtherSites(req);
        if (text !== null) return byToken(text, address);
      } else {
        const name = deps.certificateOf(req);
        if (name !== null) {
          refuseOtherSites(req);
          return byCertificate(name, address);
        }
      }
      throw new ServerError('unauthenticated', 'a bearer token is required', {
        hint: 'Authorization: Bearer tl_…; whoever administers the server makes one: treeline token create.',
        data: { credentials: false },
      });
    },
  };

  function byCertificate(name: string, address: string | null): Caller {
    const found = tokens.findCertificate(name);
    if (typeof found !== 'string') return tokens.callerOf(found, address);
    throw new ServerError('unauthenticated', `no token stands for certificates of "${name}" (${found})`, {
      hint: 'Whoever administers the server makes one: treeline token create NAME --certificate-name CN --role R',
      data: { credentials: true },
    });
  }
}

const ASK = 'Ask whoever gave it to you for another: treeline token create.';
const PROBLEMS: Record<TokenProblem, { message: string; hint: string }> = {
  mistyped: { message: 'the token is mistyped or cut off: its checksum is wrong', hint: 'Copy the whole of it again.' },
  unknown: {
    message: 'the token is not valid',
    hint: 'The admin token is in the file admin-token of the data folder.',
  },
  expired: { message: 'the token has expired', hint: ASK },
  revoked: { message: 'the token has been revoked', hint: ASK },
};

/** A browser shows passwords and certificates for any page that makes it ask: another site's must change nothing. */
function refuseOtherSites({ headers, method = '' }: Asking): void {
  const { 'sec-fetch-site': site } = headers;
  if (site === undefined || site === 'same-origin' || site === 'none' || method === 'GET' || method === 'HEAD') return;
  throw new ServerError('forbidden', 'a page of another site asked for this');
}

function isGenerated(text: string): boolean {
  const form = readTokenText(text);
  return form !== null && form !== 'mistyped';
}

function rootCaller(name: 'admin' | 'runner', o: { session: string | null; address: string | null }): Caller {
  const kind = name === 'runner' ? 'runner' : 'person';
  return { name, kind, ...o, may: () => kind === 'person' };
}

function tooMany(waitMs: number): ServerError {
  const retryAfter = Math.ceil(waitMs / 1000);
  return new ServerError('too-many-attempts', `too many failed logins: wait ${retryAfter} s`, {
    hint: 'Is the token the right one? A wrong one is not worth repeating.',
    data: { retryAfter },
  });
}

/** The token of an Authorization header; null when there is none that could be one. */
function tokenIn(header: string, basic: boolean): string | null {
  const bearer = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(header)?.[1];
  if (bearer !== undefined) return bearer;
  const encoded = basic ? /^Basic ([A-Za-z0-9+/=_-]{1,1024})$/i.exec(header)?.[1] : undefined;
  if (encoded === undefined) return null;
  const password = Buffer.from(encoded, 'base64')
    .toString('utf8')
    .replace(/^[^:]*:/, '');
  return /^[\x21-\x7e]{1,512}$/.test(password) ? password : null;
}
