import { type Kysely, type Migration, sql } from 'kysely';

// The migrations must stay what they were, whatever the table types become: hence the untyped handle.
// biome-ignore lint/suspicious/noExplicitAny: see above
type Schema = Kysely<any>;

/** Tables of sources, runs, executions, results, releases, events and secrets. */
export const core: Migration = {
  async up(db) {
    await access(db);
    await events(db);
    await sources(db);
    await runs(db);
    await executions(db);
    await releases(db);
  },
};

async function access(db: Schema): Promise<void> {
  await db.schema
    .createTable('secrets')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('hash', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();
}

async function events(db: Schema): Promise<void> {
  await db.schema
    .createTable('counters')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('value', 'bigint', (c) => c.notNull())
    .execute();
  await db.schema
    .createTable('events')
    .addColumn('id', 'bigint', (c) => c.primaryKey())
    .addColumn('type', 'text', (c) => c.notNull())
    .addColumn('data', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();
}

async function sources(db: Schema): Promise<void> {
  await db.schema
    .createTable('projects')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('url', 'text', (c) => c.notNull())
    .addColumn('branch', 'text', (c) => c.notNull())
    .addColumn('head', 'text')
    .addColumn('error', 'text')
    .addColumn('fetched_at', 'bigint')
    .addColumn('start_run', 'integer', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();
  // No foreign key to projects: what a removed project contributed stays explained.
  await db.schema
    .createTable('revisions')
    .addColumn('project', 'text', (c) => c.notNull())
    .addColumn('revision', 'text', (c) => c.notNull())
    .addColumn('commit', 'text', (c) => c.notNull())
    .addColumn('contents', 'text', (c) => c.notNull())
    .addColumn('meta', 'text', (c) => c.notNull())
    .addColumn('url', 'text', (c) => c.notNull())
    .addColumn('branch', 'text', (c) => c.notNull())
    .addColumn('subject', 'text', (c) => c.notNull())
    .addColumn('pipeline', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('revisions_pk', ['project', 'revision'])
    .execute();
}

async function runs(db: Schema): Promise<void> {
  await db.schema
    .createTable('runs')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('number', 'bigint', (c) => c.notNull().unique())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('trigger_project', 'text')
    .addColumn('trigger_branch', 'text')
    .addColumn('trigger_revision', 'text')
    .addColumn('error', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('finished_at', 'bigint')
    .execute();
  await db.schema.createIndex('runs_state').on('runs').column('state').execute();
  await db.schema
    .createTable('run_manifests')
    .addColumn('run_id', 'text', (c) => c.notNull().references('runs.id'))
    .addColumn('project', 'text', (c) => c.notNull())
    .addColumn('revision', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('run_manifests_pk', ['run_id', 'project'])
    .addForeignKeyConstraint('run_manifests_revision', ['project', 'revision'], 'revisions', ['project', 'revision'])
    .execute();
  await db.schema
    .createTable('run_jobs')
    .addColumn('run_id', 'text', (c) => c.notNull().references('runs.id'))
    .addColumn('job', 'text', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('position', 'integer', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('reused', 'integer', (c) => c.notNull())
    .addColumn('key', 'text')
    .addColumn('document', 'text')
    .addColumn('why', 'text')
    .addColumn('execution_id', 'text')
    .addColumn('blocked_on', 'text')
    .addColumn('failure', 'text')
    .addColumn('started_at', 'bigint')
    .addColumn('finished_at', 'bigint')
    .addPrimaryKeyConstraint('run_jobs_pk', ['run_id', 'job'])
    .execute();
  await db.schema.createIndex('run_jobs_execution').on('run_jobs').column('execution_id').execute();
  await db.schema.createIndex('run_jobs_job').on('run_jobs').column('job').execute();
}

async function executions(db: Schema): Promise<void> {
  await db.schema
    .createTable('executions')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('key', 'text', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('outcome', 'text')
    .addColumn('token', 'bigint', (c) => c.notNull())
    .addColumn('lost', 'integer', (c) => c.notNull())
    .addColumn('deadline', 'bigint')
    .addColumn('runner', 'text')
    .addColumn('session', 'text')
    .addColumn('cancel_requested', 'integer', (c) => c.notNull())
    .addColumn('spec', 'text', (c) => c.notNull())
    .addColumn('failure', 'text')
    .addColumn('emulated', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('started_at', 'bigint')
    .addColumn('finished_at', 'bigint')
    .execute();
  await db.schema
    .createIndex('executions_active_key')
    .unique()
    .on('executions')
    .column('key')
    .where(sql.ref('state'), '!=', 'done')
    .execute();
  await db.schema.createIndex('executions_state').on('executions').column('state').execute();
  await db.schema
    .createTable('results')
    .addColumn('key', 'text', (c) => c.primaryKey())
    .addColumn('execution_id', 'text', (c) => c.notNull().references('executions.id'))
    .addColumn('outputs', 'text', (c) => c.notNull())
    .addColumn('sources', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();
  await db.schema
    .createTable('runners')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('offer', 'text', (c) => c.notNull())
    .addColumn('embedded', 'integer', (c) => c.notNull())
    .addColumn('last_seen', 'bigint', (c) => c.notNull())
    .execute();
}

async function releases(db: Schema): Promise<void> {
  await db.schema
    .createTable('releases')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('number', 'bigint', (c) => c.notNull().unique())
    .addColumn('repository', 'text', (c) => c.notNull())
    .addColumn('channel', 'text', (c) => c.notNull())
    .addColumn('commit', 'text', (c) => c.notNull())
    .addColumn('contents', 'text', (c) => c.notNull())
    .addColumn('meta', 'text', (c) => c.notNull())
    .addColumn('previous', 'text')
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('run_id', 'text')
    .addColumn('run_number', 'bigint', (c) => c.notNull())
    .addColumn('artifact', 'text')
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('message', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('published_at', 'bigint')
    .execute();
  await db.schema.createIndex('releases_channel').on('releases').columns(['repository', 'channel', 'number']).execute();
}
