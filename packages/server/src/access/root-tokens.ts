import { timingSafeEqual } from 'node:crypto';
import { chmodSync, readFileSync } from 'node:fs';
import { writeFileDurably } from '@treeline/ostree';
import type { Database } from '../database/open.ts';
import { hashToken, makeTokenText } from './token-text.ts';

export type RootTokenName = 'admin' | 'runner';

/** The two tokens that are in files of the data folder: the admin's, which may everything, and the runners'. */
export interface RootTokens {
  /** Whose token it is; null = nobody's. Takes the same time whichever part is wrong. */
  check(token: string): RootTokenName | null;
}

/**
 * Makes the tokens that are missing and reads the hashes of all. A token's text is in a file with mode 0600; the
 * database has only its hash. A lost runner token file is replaced (the embedded runner does not need it, others must
 * be told); a lost admin token file is not: its owner may have put it elsewhere.
 */
export async function openRootTokens(
  db: Database,
  files: Record<RootTokenName, string>,
): Promise<RootTokens & { made: RootTokenName[] }> {
  const hashes = new Map<RootTokenName, Buffer>();
  const made: RootTokenName[] = [];
  for (const name of ['admin', 'runner'] as const) {
    const row = await db.selectFrom('secrets').selectAll().where('name', '=', name).executeTakeFirst();
    const file = readToken(files[name]);
    if (row && (file === null ? name === 'admin' : hashToken(file).toString('hex') === row.hash)) {
      hashes.set(name, Buffer.from(row.hash, 'hex'));
      continue;
    }
    // The file comes first: killed between the two, the next start takes over what the file says. A file that differs
    // from the hash is its owner's wish for another token.
    const token = file ?? makeTokenText().text;
    if (file === null) {
      await writeFileDurably(files[name], `${token}\n`, { mode: 0o600 });
      made.push(name);
    }
    chmodSync(files[name], 0o600);
    const value = hashToken(token);
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
      const value = hashToken(token);
      let found: RootTokenName | null = null;
      for (const [name, expected] of hashes) if (timingSafeEqual(value, expected)) found = name;
      return found;
    },
  };
}

function readToken(path: string): string | null {
  try {
    const text = readFileSync(path, 'utf8').trim();
    return text.length >= 32 ? text : null;
  } catch {
    return null;
  }
}
