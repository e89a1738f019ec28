import type { Migration } from 'kysely';

/** Tables of enrolment, devices and what they report. */
export const devices: Migration = {
  async up(db) {
    await db.schema
      .createTable('enrolment_tokens')
      .addColumn('hash', 'text', (c) => c.primaryKey())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('expires_at', 'bigint', (c) => c.notNull())
      .addColumn('uses_left', 'integer', (c) => c.notNull())
      .addColumn('channel', 'text')
      .addColumn('repository', 'text', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('devices')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('public_key', 'text', (c) => c.notNull())
      .addColumn('accepted', 'integer', (c) => c.notNull())
      .addColumn('key_change_allowed', 'integer', (c) => c.notNull())
      .addColumn('token_hash', 'text')
      .addColumn('channel', 'text')
      .addColumn('repository', 'text', (c) => c.notNull())
      .addColumn('hardware_id', 'text')
      .addColumn('state', 'text', (c) => c.notNull())
      .addColumn('reason', 'text')
      .addColumn('release', 'text')
      .addColumn('rolled_back_from', 'text')
      .addColumn('current_commit', 'text')
      .addColumn('current_target', 'text')
      .addColumn('offered_commit', 'text')
      .addColumn('last_seen', 'bigint')
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('device_bad_releases')
      .addColumn('device_id', 'text', (c) => c.notNull().references('devices.id').onDelete('cascade'))
      .addColumn('commit', 'text', (c) => c.notNull())
      .addColumn('reason', 'text')
      .addColumn('at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('device_bad_releases_pk', ['device_id', 'commit'])
      .execute();
    await db.schema
      .createTable('device_events')
      .addColumn('device_id', 'text', (c) => c.notNull().references('devices.id').onDelete('cascade'))
      .addColumn('id', 'text', (c) => c.notNull())
      .addColumn('type', 'text', (c) => c.notNull())
      .addColumn('device_time', 'bigint', (c) => c.notNull())
      .addColumn('received_at', 'bigint', (c) => c.notNull())
      .addColumn('position', 'bigint', (c) => c.notNull())
      .addColumn('correlation_id', 'text')
      .addColumn('target', 'text')
      .addColumn('success', 'integer')
      .addColumn('details', 'text')
      .addPrimaryKeyConstraint('device_events_pk', ['device_id', 'id'])
      .execute();
    await db.schema
      .createIndex('device_events_position')
      .on('device_events')
      .columns(['device_id', 'position'])
      .execute();
    await db.schema
      .createTable('device_inventory')
      .addColumn('device_id', 'text', (c) => c.notNull().references('devices.id').onDelete('cascade'))
      .addColumn('kind', 'text', (c) => c.notNull())
      .addColumn('body', 'text', (c) => c.notNull())
      .addColumn('updated_at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('device_inventory_pk', ['device_id', 'kind'])
      .execute();
  },
};
