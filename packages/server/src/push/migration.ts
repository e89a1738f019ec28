import type { Migration } from 'kysely';

/** Moves of refs that were about to happen. */
export const refMoves: Migration = {
  async up(db) {
    await db.schema
      .createTable('ref_moves')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('ref', 'text', (c) => c.notNull())
      .addColumn('from_commit', 'text')
      .addColumn('to_commit', 'text', (c) => c.notNull())
      .addColumn('forced', 'integer', (c) => c.notNull())
      .addColumn('metadata', 'integer', (c) => c.notNull())
      .addColumn('actor', 'text', (c) => c.notNull())
      .addColumn('token', 'text')
      .addColumn('address', 'text')
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .execute();
  },
};
