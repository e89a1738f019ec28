import type { Migration } from 'kysely';

/** What was changed by hand on a device, as it was last asked. */
export const differences: Migration = {
  async up(db) {
    await db.schema
      .createTable('device_differences')
      .addColumn('device_id', 'text', (c) => c.primaryKey().references('devices.id').onDelete('cascade'))
      .addColumn('request', 'text', (c) => c.notNull())
      .addColumn('asked_by', 'text', (c) => c.notNull())
      .addColumn('asked_at', 'bigint', (c) => c.notNull())
      .addColumn('answered_at', 'bigint')
      .addColumn('answer', 'text')
      .execute();
  },
};
