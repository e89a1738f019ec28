import type { Migration } from 'kysely';

/** Devices that a developer points at a commit of their own, and where devices come from. */
export const pointers: Migration = {
  async up(db) {
    await db.schema
      .createTable('device_pointers')
      .addColumn('device_id', 'text', (c) => c.primaryKey().references('devices.id').onDelete('cascade'))
      .addColumn('url', 'text', (c) => c.notNull())
      .addColumn('ref', 'text')
      .addColumn('commit', 'text', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('expires_at', 'bigint', (c) => c.notNull())
      .execute();
    await db.schema.alterTable('devices').addColumn('address', 'text').execute();
    await db.schema.alterTable('devices').addColumn('fetched_from', 'text').execute();
  },
};
