import type { Migration } from 'kysely';

/** Published repositories and how each is run. */
export const repositories: Migration = {
  async up(db) {
    await db.schema
      .createTable('repositories')
      .addColumn('name', 'text', (c) => c.primaryKey())
      .addColumn('settings', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .execute();
  },
};
