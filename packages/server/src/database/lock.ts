import pg from 'pg';
import { ServerError } from '../errors.ts';

/** "tree", as a number: the advisory lock that a server holds on its PostgreSQL database. */
const LOCK = 0x74726565;

/**
 * Makes this process the only server on a PostgreSQL database; a SQLite database is in the data folder, which has a
 * lock of its own. PostgreSQL drops the lock with the connection, so there is never a stale one.
 *
 * @returns what gives it up.
 * @throws ServerError `data-folder-busy`
 */
export async function lockDatabase(url: string): Promise<() => Promise<void>> {
  if (url.startsWith('sqlite:')) return async () => {};
  const client = new pg.Client({ connectionString: url });
  // A lost connection is noticed by the next query of the pool; without a listener it would end the process.
  client.on('error', () => {});
  await client.connect();
  const { rows } = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1) as locked', [LOCK]);
  if (rows[0]?.locked) return () => client.end();
  await client.end();
  throw new ServerError('data-folder-busy', 'the database is in use by another Treeline server', {
    hint: 'Stop that server, or give this one a database of its own.',
  });
}
