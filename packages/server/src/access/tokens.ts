import { timingSafeEqual } from 'node:crypto';
import type { Database } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import type { AuditLog } from './audit.ts';
import { ACTIONS, type Action, type Caller } from './caller.ts';
import { type Grant, grantAllows } from './grants.ts';
import type { TokenRow } from './tables.ts';
import { checkGrant, freeName, grantOf, isRevoked, rowOf, type TokenWish, withAllBelow } from './token-making.ts';
import { hashToken, makeTokenText, readTokenText } from './token-text.ts';

/** Names that the audit log has for others. */
const RESERVED = new Set(['admin', 'runner', 'server']);
/** Tokens that one token and those made from it may have alive: whoever may make one must not fill the server. */
const MOST_BELOW = 1000;
/** The same with those that have ended and are still remembered. */
const MOST_KEPT = 10_000;
/** Revoked and expired tokens are kept this long, so that lists and refusals can tell of them. */
const KEEP_DEAD_MS = 30 * 24 * 3600 * 1000;

/** A token as its row and what it allows. */
export interface Token {
  readonly row: Readonly<TokenRow>;
  readonly grant: Grant;
}

/** Why a text, or a certificate's name, is nobody's. */
export type TokenProblem = 'mistyped' | 'unknown' | 'expired' | 'revoked';

/**
 * The tokens. All are in memory, so that a request is known without a query and a wrong one costs nothing; the server
 * is the only one on its database, and every change is on disk before it counts here.
 */
export interface Tokens {
  /** The token of a text. Takes the same time whichever part of the secret is wrong. */
  find(text: string): Token | TokenProblem;
  /** Whether the text names a token that there is, whatever its secret. */
  isNamed(text: string): boolean;
  /** The token that stands for client certificates of a common name. */
  findCertificate(commonName: string): Token | TokenProblem;
  /** Who asks with a token. */
  callerOf(token: Token, address: string | null): Caller;
  /** Whether `token` is `ancestor`, or was made from it. */
  isBelow(token: Token, ancestor: string): boolean;
  /** By id, or by the name of one that is not revoked. */
  get(idOrName: string): Token | null;
  all(): Token[];
  stateOf(token: Token): 'good' | 'expired' | 'revoked';
  /** What a token allows: its own grant within those of all that it was made from. */
  effective(token: Token): { actions: Action[]; patterns: string[] | null };
  /**
   * Makes a token that allows no more than its maker may.
   *
   * @returns its text, which is not kept; null for one that stands for certificates.
   * @throws ServerError `forbidden` naming what is too much, `conflict` for a name that is taken.
   */
  create(wish: TokenWish, by: Caller): Promise<{ token: Token; text: string | null }>;
  /** Ends a token and all that were made from it. Again: nothing. @returns those that ended. */
  revoke(token: Token, by: Caller): Promise<Token[]>;
  /** Writes down when tokens were last used, and forgets those that ended long ago. */
  tidy(): Promise<void>;
}

export interface TokensDeps {
  db: Database;
  audit: AuditLog;
  now?: () => number;
}

/** Reads all tokens. */
export async function openTokens({ db, audit, now = Date.now }: TokensDeps): Promise<Tokens> {
  const tokens = new Map<string, Token>();
  const put = (row: TokenRow): Token => {
    const token = { row, grant: grantOf(row) };
    tokens.set(row.id, token);
    return token;
  };
  for (const row of await db.selectFrom('tokens').selectAll().execute()) put(row);
  const uses = new Map<string, { at: number; address: string | null }>();

  const parentOf = (token: Token): Token | undefined =>
    token.row.parent === null ? undefined : tokens.get(token.row.parent);
  const chain = (token: Token): Token[] => {
    const links: Token[] = [];
    for (let link: Token | undefined = token; link !== undefined; link = parentOf(link)) links.push(link);
    return links;
  };
  const problemOf = (token: Token): 'expired' | 'revoked' | null => {
    const links = chain(token).map(({ row }) => row);
    if (links.some((row) => row.revoked_at !== null)) return 'revoked';
    return links.some((row) => row.expires_at !== null && row.expires_at <= now()) ? 'expired' : null;
  };
  const find = (text: string): Token | TokenProblem => {
    const form = readTokenText(text);
    if (form === 'mistyped') return 'mistyped';
    const token = form === null ? undefined : tokens.get(form.id);
    const expected = token?.row.hash == null ? Buffer.alloc(32) : Buffer.from(token.row.hash, 'hex');
    if (!timingSafeEqual(hashToken(text), expected) || token === undefined) return 'unknown';
    return problemOf(token) ?? token;
  };

  const checkCount = (top: Token): void => {
    const below = register.all().filter((token) => token !== top && register.isBelow(token, top.row.id));
    const alive = below.filter((token) => problemOf(token) === null);
    if (alive.length < MOST_BELOW && below.length < MOST_KEPT) return;
    throw new ServerError('conflict', `${below.length} tokens have been made from ${top.row.name} already`, {
      hint: 'Revoke those that nobody needs, or let them expire: treeline token list',
    });
  };

  const register: Tokens = {
    find,
    isNamed(text) {
      const form = readTokenText(text);
      return form !== null && form !== 'mistyped' && tokens.has(form.id);
    },
    findCertificate(commonName) {
      let problem: TokenProblem = 'unknown';
      for (const token of tokens.values()) {
        if (token.row.certificate_name !== commonName) continue;
        const why = problemOf(token);
        if (why === null) return token;
        problem = why;
      }
      return problem;
    },
    callerOf(token, address) {
      uses.set(token.row.id, { at: now(), address });
      const links = chain(token);
      return {
        ...{ name: token.row.name, kind: 'person', session: null, address, token: token.row.id },
        // Asked again while a stream goes on, so what has ended by then counts.
        may: (action, subject) =>
          problemOf(tokens.get(token.row.id) ?? token) === null &&
          links.every((link) => grantAllows(link.grant, action, subject)),
      };
    },
    isBelow: (token, ancestor) => chain(token).some((link) => link.row.id === ancestor),
    get(idOrName) {
      const named = [...tokens.values()].find(({ row }) => row.name === idOrName && row.revoked_at === null);
      return named ?? tokens.get(idOrName) ?? null;
    },
    stateOf: (token) => problemOf(token) ?? 'good',
    all: () => [...tokens.values()].sort((a, b) => a.row.created_at - b.row.created_at),
    effective(token) {
      const links = chain(token);
      return {
        actions: ACTIONS.filter((action) => links.every((link) => link.grant.actions.has(action))),
        // Each one's patterns are inside those of the one before it.
        patterns: links.find((link) => link.grant.patterns !== null)?.grant.patterns?.map(({ text }) => text) ?? null,
      };
    },

    async create(wish, by) {
      const maker = by.token === undefined ? null : tokens.get(by.token);
      if (maker === undefined) throw gone(by);
      const row = rowOf(wish, { maker: maker?.row ?? null, by, now: now() });
      const grant = checkGrant(row, maker && register.effective(maker));
      if (RESERVED.has(row.name)) throw new ServerError('conflict', `the name ${row.name} is the server's own`);
      if (row.parent !== null) checkCount(chain(tokens.get(row.parent)!).at(-1)!);
      const text = wish.certificateName === undefined ? makeTokenText() : null;
      const made = { ...row, ...(text && { id: text.id, hash: hashToken(text.text).toString('hex') }) };
      const freed = await db.transaction().execute(async (trx) => {
        // It may have been revoked since the request came in.
        if (maker !== null && (await isRevoked(trx, maker.row.id))) throw gone(by);
        const freed = await freeName(trx, made, now());
        await trx.insertInto('tokens').values(made).execute();
        const data = {
          ...{ id: made.id, role: made.role, allow: JSON.parse(made.actions) as unknown, on: wish.on ?? null },
          ...{ expiresAt: made.expires_at, parent: made.parent, certificateName: made.certificate_name },
        };
        await audit.record({ caller: by, action: 'token.create', subject: made.name, data }, trx);
        return freed;
      });
      for (const other of freed) put(other);
      const token = { row: made, grant };
      tokens.set(made.id, token);
      return { token, text: text?.text ?? null };
    },

    async revoke(token, by) {
      const at = now();
      const ended = await db.transaction().execute(async (trx) => {
        const rows = await trx.selectFrom('tokens').selectAll().where('revoked_at', 'is', null).execute();
        const ending = withAllBelow(rows, token.row.id);
        if (ending.length === 0) return [];
        const ids = ending.map(({ id }) => id);
        await trx.updateTable('tokens').set({ revoked_at: at }).where('id', 'in', ids).execute();
        const below = ending.filter(({ id }) => id !== token.row.id).map(({ name }) => name);
        const data = { id: token.row.id, ...(below.length === 0 ? {} : { withIt: below }) };
        await audit.record({ caller: by, action: 'token.revoke', subject: token.row.name, data }, trx);
        return ending;
      });
      return ended.map((row) => put({ ...row, revoked_at: at }));
    },

    async tidy() {
      const seen = [...uses];
      uses.clear();
      for (const [id, { at, address }] of seen) {
        const token = tokens.get(id);
        if (token === undefined) continue;
        const used = { last_used_at: at, last_used_from: address };
        await db.updateTable('tokens').set(used).where('id', '=', id).execute();
        put({ ...tokens.get(id)!.row, ...used });
      }
      const dead = register
        .all()
        .filter(({ row }) => Math.min(row.revoked_at ?? Infinity, row.expires_at ?? Infinity) < now() - KEEP_DEAD_MS);
      for (const { row } of dead) {
        // Those made from it go with it: they ended no later.
        await db.deleteFrom('tokens').where('id', '=', row.id).execute();
        tokens.delete(row.id);
      }
    },
  };
  return register;
}

function gone(by: Caller): ServerError {
  return new ServerError('unauthenticated', `the token ${by.name} has been revoked`);
}
