import type { Migration } from 'kysely';

/** The audit log. */
export const access: Migration = {
  async up(db) {
    await db.schema
      .createTable('audit')
      .addColumn('id', 'bigint', (c) => c.primaryKey())
      .addColumn('actor', 'text', (c) => c.notNull())
      .addColumn('address', 'text')
      .addColumn('action', 'text', (c) => c.notNull())
      .addColumn('subject', 'text', (c) => c.notNull())
      .addColumn('data', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .execute();
  },
};
