import type { Migration } from 'kysely';

/** What a device says of itself beside its state. */
export const deviceDetails: Migration = {
  async up(db) {
    await db.schema.alterTable('devices').addColumn('details', 'text').execute();
  },
};
