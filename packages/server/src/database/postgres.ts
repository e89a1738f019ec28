import {
  type DatabaseConnection,
  type Driver,
  PostgresDialect,
  type PostgresDialectConfig,
  PostgresDriver,
  type TransactionSettings,
} from 'kysely';
import pg from 'pg';

const INT8 = 20;
const NUMERIC = 1700;

/** PostgreSQL behind the same handle as SQLite: numbers are numbers, and one transaction happens at a time. */
export function createPostgresDialect(url: string): PostgresDialect {
  // Counters, times and counts all fit a double's 53 bits; as strings they would compare wrongly.
  const numbers = (oid: number) => (oid === INT8 || oid === NUMERIC ? Number : null);
  const pool = new pg.Pool({
    connectionString: url,
    max: 8,
    types: {
      getTypeParser: (oid: number, format?: 'text' | 'binary'): ((value: string) => unknown) =>
        numbers(oid) ?? (pg.types.getTypeParser(oid, format) as (value: string) => unknown),
    },
  });
  // An idle connection that breaks is replaced by the pool; without a listener it would end the process.
  pool.on('error', () => {});
  return new OneTransactionDialect({ pool });
}

class OneTransactionDialect extends PostgresDialect {
  readonly #config: PostgresDialectConfig;

  constructor(config: PostgresDialectConfig) {
    super(config);
    this.#config = config;
  }

  override createDriver(): Driver {
    return new OneTransactionDriver(this.#config);
  }
}

/**
 * Transactions of this process happen one after the other, as with SQLite, so that code which is right on one database
 * is right on the other: no deadlocks, and nothing changes between what a transaction reads and what it writes.
 * Statements outside transactions run beside them.
 */
class OneTransactionDriver extends PostgresDriver {
  #tail: Promise<void> = Promise.resolve();
  readonly #releases = new WeakMap<DatabaseConnection, () => void>();

  override async beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    const before = this.#tail;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#tail = promise;
    await before;
    this.#releases.set(connection, resolve);
    try {
      await super.beginTransaction(connection, settings);
    } catch (error) {
      this.#release(connection);
      throw error;
    }
  }

  override async commitTransaction(connection: DatabaseConnection): Promise<void> {
    try {
      await super.commitTransaction(connection);
    } finally {
      this.#release(connection);
    }
  }

  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    try {
      await super.rollbackTransaction(connection);
    } finally {
      this.#release(connection);
    }
  }

  #release(connection: DatabaseConnection): void {
    this.#releases.get(connection)?.();
    this.#releases.delete(connection);
  }
}
