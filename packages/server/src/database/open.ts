import BetterSqlite from 'better-sqlite3';
import { Kysely, Migrator, type PostgresDialect, SqliteDialect, type Transaction } from 'kysely';
import { messageOf, ServerError } from '../errors.ts';
import { migrations } from './migrations/index.ts';
import { createPostgresDialect } from './postgres.ts';
import type { Tables } from './tables.ts';

/** The database handle: queries outside a transaction. Close with `destroy()`. */
export type Database = Kysely<Tables>;
/** Either a handle or an open transaction. Inside a transaction use only it: SQLite has one connection. */
export type Queryable = Kysely<Tables> | Transaction<Tables>;
export type { Transaction } from 'kysely';

/**
 * Opens the database and brings its tables up to date.
 *
 * @param url `sqlite:<path>` or `postgres://user:password@host/name`.
 * SQLite runs in WAL mode with synchronous=FULL: a committed transaction survives power loss.
 * @throws ServerError `settings-invalid` for another kind of URL, `unavailable` when it cannot be opened.
 */
export async function openDatabase(url: string): Promise<Database> {
  const db = new Kysely<Tables>({ dialect: dialectOf(url) });
  try {
    await migrate(db);
  } catch (error) {
    await db.destroy();
    throw error;
  }
  return db;
}

function dialectOf(url: string): SqliteDialect | PostgresDialect {
  if (url.startsWith('sqlite:')) return sqliteDialect(url.slice('sqlite:'.length));
  if (/^postgres(ql)?:\/\//.test(url)) return createPostgresDialect(url);
  throw new ServerError('settings-invalid', `the database URL "${url.split(':')[0]}:…" is of no known kind`, {
    hint: 'Use sqlite:/path/to/file.db or postgres://user:password@host/name.',
  });
}

function sqliteDialect(path: string): SqliteDialect {
  let sqlite: BetterSqlite.Database;
  try {
    sqlite = new BetterSqlite(path);
  } catch (error) {
    throw new ServerError('unavailable', `cannot open the database ${path}: ${messageOf(error)}`, { cause: error });
  }
  sqlite.pragma('journal_mode = WAL');
  sqlite.pragma('synchronous = FULL');
  sqlite.pragma('foreign_keys = ON');
  sqlite.pragma('busy_timeout = 5000');
  return new SqliteDialect({ database: sqlite });
}

async function migrate(db: Database): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  const { error, results } = await migrator.migrateToLatest();
  if (error === undefined) return;
  const failed = results?.find((result) => result.status === 'Error');
  throw new ServerError(
    'unavailable',
    `the database could not be brought up to date${failed ? ` (migration ${failed.migrationName})` : ''}: ${messageOf(error)}`,
    { cause: error, hint: 'Was it written by a newer Treeline? Start that version, or use another data folder.' },
  );
}
