import type { Migration } from 'kysely';

/** Published repositories and how each is run; publications, which are one or several releases at once. */
export const repositories: Migration = {
  async up(db) {
    await db.schema
      .createTable('repositories')
      .addColumn('name', 'text', (c) => c.primaryKey())
      .addColumn('settings', 'text', (c) => c.notNull())
      .addColumn('refresh', 'integer', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('publications')
      .addColumn('number', 'bigint', (c) => c.primaryKey())
      .addColumn('repository', 'text', (c) => c.notNull())
      .addColumn('state', 'text', (c) => c.notNull())
      .addColumn('step', 'text')
      .addColumn('progress', 'text')
      .addColumn('actor', 'text')
      .addColumn('reason', 'text', (c) => c.notNull())
      .addColumn('run_id', 'text')
      .addColumn('message', 'text')
      .addColumn('signatures', 'text')
      .addColumn('deltas', 'text')
      .addColumn('labels', 'text')
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('finished_at', 'bigint')
      .execute();
    await db.schema.createIndex('publications_state').on('publications').column('state').execute();
    await db.schema.alterTable('releases').addColumn('publication', 'bigint').execute();
    await db.schema.alterTable('releases').addColumn('expects', 'text').execute();
    // Every release was a publication of its own so far.
    await db
      .insertInto('publications')
      .columns(['number', 'repository', 'state', 'reason', 'run_id', 'message', 'created_at', 'finished_at'])
      .expression(
        db
          .selectFrom('releases')
          .select(['number', 'repository', 'state', 'reason', 'run_id', 'message', 'created_at', 'published_at']),
      )
      .execute();
    await db
      .updateTable('releases')
      .set((eb) => ({ publication: eb.ref('number') }))
      .execute();
    await db.schema.createIndex('releases_publication').on('releases').column('publication').execute();
  },
};
