import type { Migration } from 'kysely';

/** When results, source revisions and filtered sources were last used, and which results were forgotten. */
export const unused: Migration = {
  async up(db) {
    // Nobody knows when what is there was used last: it counts as used now.
    const now = Date.now();
    for (const table of ['results', 'revisions']) {
      await db.schema
        .alterTable(table)
        .addColumn('used_at', 'bigint', (c) => c.notNull().defaultTo(now))
        .execute();
    }
    await db.schema
      .createTable('forgotten_results')
      .addColumn('key', 'text', (c) => c.notNull())
      .addColumn('outputs', 'text', (c) => c.notNull())
      .addColumn('forgotten_at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('forgotten_results_pk', ['key', 'forgotten_at'])
      .execute();
    await db.schema
      .createTable('filtered_sources')
      .addColumn('contents', 'text', (c) => c.notNull())
      .addColumn('meta', 'text', (c) => c.notNull())
      .addColumn('commit', 'text', (c) => c.notNull())
      .addColumn('used_at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('filtered_sources_pk', ['contents', 'meta'])
      .execute();
    await db.schema.createIndex('run_jobs_key').on('run_jobs').column('key').execute();
  },
};
