import type { Migration } from 'kysely';

/** Labels of trees, projects and artifacts; what results were made from, beside what their commits say. */
export const labels: Migration = {
  async up(db) {
    await db.schema
      .createTable('labels')
      .addColumn('contents', 'text', (c) => c.notNull())
      .addColumn('meta', 'text', (c) => c.notNull())
      .addColumn('label', 'text', (c) => c.notNull())
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('commit', 'text', (c) => c.notNull())
      .addColumn('actor', 'text')
      .addColumn('reason', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('labels_pk', ['contents', 'meta', 'label', 'name'])
      .execute();
    await db.schema.createIndex('labels_commit').on('labels').column('commit').execute();
    await db.schema
      .createTable('name_labels')
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('label', 'text', (c) => c.notNull())
      .addColumn('by_hand', 'integer', (c) => c.notNull())
      .addColumn('actor', 'text')
      .addColumn('reason', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('name_labels_pk', ['name', 'label', 'by_hand'])
      .execute();
    await db.schema
      .createTable('result_inputs')
      .addColumn('key', 'text', (c) => c.notNull())
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('commit', 'text', (c) => c.notNull())
      .addPrimaryKeyConstraint('result_inputs_pk', ['key', 'name', 'commit'])
      .execute();
    await db.schema.createIndex('revisions_commit').on('revisions').column('commit').execute();
  },
};
