import type { Migration } from 'kysely';

/** What is dropped and since when, pins, prunes, and what devices ran. */
export const retention: Migration = {
  async up(db) {
    await db.schema
      .createTable('dropped_commits')
      .addColumn('repository', 'text', (c) => c.notNull())
      .addColumn('commit', 'text', (c) => c.notNull())
      .addColumn('dropped_at', 'bigint', (c) => c.notNull())
      .addColumn('unlisted_at', 'bigint')
      .addPrimaryKeyConstraint('dropped_commits_pk', ['repository', 'commit'])
      .execute();
    await db.schema
      .createTable('pins')
      .addColumn('repository', 'text', (c) => c.notNull())
      .addColumn('commit', 'text', (c) => c.notNull())
      .addColumn('actor', 'text', (c) => c.notNull())
      .addColumn('reason', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('pins_pk', ['repository', 'commit'])
      .execute();
    await db.schema
      .createTable('prunes')
      .addColumn('repository', 'text', (c) => c.primaryKey())
      .addColumn('finished_at', 'bigint', (c) => c.notNull())
      .addColumn('objects', 'bigint', (c) => c.notNull())
      .addColumn('bytes', 'bigint', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('device_runs')
      .addColumn('device_id', 'text', (c) => c.notNull().references('devices.id').onDelete('cascade'))
      .addColumn('commit', 'text', (c) => c.notNull())
      .addColumn('since', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('device_runs_pk', ['device_id', 'commit'])
      .execute();
    await db.schema.createIndex('device_runs_commit').on('device_runs').columns(['commit', 'device_id']).execute();
    // What devices have is counted by commit, of very many devices.
    await db.schema.createIndex('devices_current').on('devices').columns(['current_commit', 'id']).execute();
    await db.schema
      .createIndex('devices_offered')
      .on('devices')
      .columns(['offered_commit', 'current_commit', 'id'])
      .execute();
    await db
      .insertInto('device_runs')
      .columns(['device_id', 'commit', 'since'])
      .expression(
        db.selectFrom('devices').select(['id', 'current_commit', 'created_at']).where('current_commit', 'is not', null),
      )
      .execute();
  },
};
