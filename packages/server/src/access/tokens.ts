import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { chmodSync, readFileSync } from 'node:fs';
import { writeFileDurably } from '@treeline/ostree';
import type { Database } from '../database/open.ts';

export type TokenName = 'admin' | 'runner';

/** Checks bearer tokens against the stored hashes. */
export interface Tokens {
  /** Whose token it is; null = nobody's. Takes the same time whichever part is wrong. */
  check(token: string): TokenName | null;
}

/**
 * Makes the tokens that are missing and reads the hashes of all. A token's text is in a file with mode 0600; the
 * database has only its hash. A lost runner token file is replaced (the embedded runner does not need it, others must
 * be told); a lost admin token file is not: its owner may have put it elsewhere.
 */
export async function openTokens(
  db: Database,
  files: Record<TokenName, string>,
): Promise<Tokens & { made: TokenName[] }> {
  const hashes = new Map<TokenName, Buffer>();
  const made: TokenName[] = [];
  for (const name of ['admin', 'runner'] as const) {
    const row = await db.selectFrom('secrets').selectAll().where('name', '=', name).executeTakeFirst();
    const file = readToken(files[name]);
    if (row && (file === null ? name === 'admin' : hash(file).toString('hex') === row.hash)) {
      hashes.set(name, Buffer.from(row.hash, 'hex'));
      continue;
    }
    // The file comes first: killed between the two, the next start takes over what the file says. A file that differs
    // from the hash is its owner's wish for another token.
    const token = file ?? randomBytes(32).toString('base64url');
    if (file === null) {
      await writeFileDurably(files[name], `${token}\n`, { mode: 0o600 });
      made.push(name);
    }
    chmodSync(files[name], 0o600);
    const value = hash(token);
    await db
      .insertInto('secrets')
      .values({ name, hash: value.toString('hex'), created_at: Date.now() })
      .onConflict((c) => c.column('name').doUpdateSet({ hash: value.toString('hex'), created_at: Date.now() }))
      .execute();
    hashes.set(name, value);
  }
  return {
    made,
    check(token) {
      const value = hash(token);
      let found: TokenName | null = null;
      for (const [name, expected] of hashes) if (timingSafeEqual(value, expected)) found = name;
      return found;
    },
  };
}

/** sha256 of a token: the tokens are random, so no slow hash is needed. */
export function hash(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function readToken(path: string): string | null {
  try {
    const text = readFileSync(path, 'utf8').trim();
    return text.length >= 32 ? text : null;
  } catch {
    return null;
  }
}
