import { type Migration, sql } from 'kysely';

/** The audit log, and tokens. */
export const access: Migration = {
  async up(db) {
    await db.schema
      .createTable('audit')
      .addColumn('id', 'bigint', (c) => c.primaryKey())
      .addColumn('actor', 'text', (c) => c.notNull())
      .addColumn('token', 'text')
      .addColumn('address', 'text')
      .addColumn('action', 'text', (c) => c.notNull())
      .addColumn('subject', 'text', (c) => c.notNull())
      .addColumn('data', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .execute();
    for (const column of ['actor', 'action', 'subject', 'created_at']) {
      await db.schema.createIndex(`audit_${column}`).on('audit').columns([column, 'id']).execute();
    }
    await db.schema
      .createTable('tokens')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('role', 'text')
      .addColumn('actions', 'text', (c) => c.notNull())
      .addColumn('patterns', 'text')
      .addColumn('hash', 'text')
      .addColumn('certificate_name', 'text')
      .addColumn('parent', 'text', (c) => c.references('tokens.id').onDelete('cascade'))
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('expires_at', 'bigint')
      .addColumn('revoked_at', 'bigint')
      .addColumn('last_used_at', 'bigint')
      .addColumn('last_used_from', 'text')
      .execute();
    // A name, and the name in a certificate, belong to one token at a time.
    for (const column of ['name', 'certificate_name']) {
      await db.schema
        .createIndex(`tokens_${column}`)
        .unique()
        .on('tokens')
        .column(column)
        .where(sql.ref('revoked_at'), 'is', null)
        .execute();
    }
  },
};
