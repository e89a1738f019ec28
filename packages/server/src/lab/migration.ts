import type { Migration } from 'kysely';

/** Devices of board jobs. */
export const lab: Migration = {
  async up(db) {
    await db.schema
      .createTable('lab_devices')
      .addColumn('device_id', 'text', (c) => c.primaryKey())
      .addColumn('execution_id', 'text', (c) => c.notNull())
      .addColumn('lease', 'integer', (c) => c.notNull())
      .addColumn('token_hash', 'text', (c) => c.notNull())
      .addColumn('system', 'text', (c) => c.notNull())
      .addColumn('over', 'text')
      .addColumn('target', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .execute();
    await db.schema.createIndex('lab_devices_execution').on('lab_devices').column('execution_id').execute();
  },
};
