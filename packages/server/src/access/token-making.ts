import type { Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import type { Action, Caller } from './caller.ts';
import { beyond, createGrant, type Grant } from './grants.ts';
import type { Role } from './roles.ts';
import type { TokenRow } from './tables.ts';
import { makeTokenText } from './token-text.ts';

export interface TokenWish {
  name: string;
  role?: Role | undefined;
  /** Beside those of the role. Neither: what the maker's token allows. */
  allow?: readonly Action[] | undefined;
  /** Null or left out: wherever the maker's token is for. */
  on?: readonly string[] | undefined;
  /** Seconds. */
  expires?: number | undefined;
  /** Makes it stand for client certificates of this common name instead of having a text. */
  certificateName?: string | undefined;
  /** Outlives the token that it is made with. */
  independent?: boolean | undefined;
}

export async function isRevoked(trx: Queryable, id: string): Promise<boolean> {
  const found = await trx.selectFrom('tokens').select('revoked_at').where('id', '=', id).executeTakeFirst();
  return found === undefined || found.revoked_at !== null;
}

/**
 * Makes room for a token's name: one that has expired gives it up.
 *
 * @returns the rows that were changed.
 * @throws ServerError `conflict` when another token has the name, or stands for the same certificates.
 */
export async function freeName(trx: Queryable, row: TokenRow, now: number): Promise<TokenRow[]> {
  const taken = await trx
    .selectFrom('tokens')
    .selectAll()
    .where('revoked_at', 'is', null)
    .where((eb) => eb.or([eb('name', '=', row.name), eb('certificate_name', '=', row.certificate_name)]))
    .execute();
  const freed: TokenRow[] = [];
  for (const other of taken) {
    if (other.expires_at === null || other.expires_at > now) {
      const what = other.name === row.name ? row.name : `certificates of ${row.certificate_name}`;
      throw new ServerError('conflict', `there is a token for ${what} already: ${other.id}`, {
        hint: `Choose another name, or: treeline token revoke ${other.id}`,
      });
    }
    await trx.updateTable('tokens').set({ revoked_at: other.expires_at }).where('id', '=', other.id).execute();
    freed.push({ ...other, revoked_at: other.expires_at });
  }
  return freed;
}

/** A token's row and those of all that were made from it, directly or not. */
export function withAllBelow(rows: readonly TokenRow[], id: string): TokenRow[] {
  const found = new Map(rows.filter((row) => row.id === id).map((row) => [row.id, row]));
  for (let before = -1; found.size > before; ) {
    before = found.size;
    for (const row of rows) if (row.parent !== null && found.has(row.parent)) found.set(row.id, row);
  }
  return [...found.values()];
}

export function grantOf(row: TokenRow): Grant {
  return createGrant({
    role: row.role,
    actions: JSON.parse(row.actions) as Action[],
    patterns: row.patterns === null ? null : (JSON.parse(row.patterns) as string[]),
  });
}

/** The row of a new token as its maker may wish for it; what it allows is not looked at. */
export function rowOf(wish: TokenWish, o: { maker: TokenRow | null; by: Caller; now: number }): TokenRow {
  const { maker, by } = o;
  if (wish.independent && !by.may('administer')) {
    throw new ServerError('forbidden', `${by.name} may not make a token that outlives its own`, {
      hint: 'That takes the action administer. Without it the new token ends with yours.',
    });
  }
  const parent = wish.independent ? null : maker;
  const own = wish.role === undefined && wish.allow === undefined;
  if (own && maker === null) {
    throw new ServerError('invalid-request', 'the new token needs a role, or actions that it allows', {
      hint: 'Roles: viewer, developer, publisher, operator, admin. See: treeline token create --help',
    });
  }
  const until = wish.expires === undefined ? Infinity : o.now + wish.expires * 1000;
  const expires = Math.min(until, parent?.expires_at ?? Infinity);
  return {
    ...{ id: makeTokenText().id, name: wish.name, hash: null, certificate_name: wish.certificateName ?? null },
    role: own ? (maker?.role ?? null) : (wish.role ?? null),
    actions: own ? (maker?.actions ?? '[]') : JSON.stringify([...new Set(wish.allow ?? [])]),
    // Written down, so that an independent one keeps the limits of its maker.
    patterns: wish.on === undefined ? (maker?.patterns ?? null) : JSON.stringify([...new Set(wish.on)]),
    ...{ parent: parent?.id ?? null, created_by: by.name, created_at: o.now },
    ...{ expires_at: Number.isFinite(expires) ? expires : null, revoked_at: null },
    ...{ last_used_at: null, last_used_from: null },
  };
}

/** @throws ServerError `forbidden` when the row allows more than its maker does. */
export function checkGrant(row: TokenRow, maker: { actions: Action[]; patterns: string[] | null } | null): Grant {
  const grant = grantOf(row);
  if (grant.actions.size === 0) {
    throw new ServerError('invalid-request', 'the new token would allow nothing');
  }
  if (maker !== null) {
    const outer = createGrant({ role: null, actions: maker.actions, patterns: maker.patterns });
    const { actions, patterns } = beyond(grant, outer);
    if (actions.length > 0 || patterns.length > 0) {
      const what = [...actions, ...patterns.map((pattern) => `on ${pattern}`)].join(', ');
      throw new ServerError('forbidden', `a token can only allow what its maker may, which is not: ${what}`, {
        hint: 'What you may: treeline token show',
      });
    }
  }
  if (grant.patterns !== null && grant.actions.has('administer')) {
    throw new ServerError('invalid-request', 'who may administer may so everywhere: patterns would be no limit', {
      hint: 'Choose a role or actions without administer.',
    });
  }
  return grant;
}
