import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createRepo } from '@treeline/ostree';
import type { Actor, AuditLog } from '../access/audit.ts';
import type { DataFolder } from '../data-folder.ts';
import type { Database, Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import type { EventLog } from '../events/log.ts';
import { mergeSettings, type RepositoryPatch, RepositorySettings } from './repository-settings.ts';
import { tryToSign } from './signers.ts';
import type { RepositoryRow } from './tables.ts';

/** A published repository. */
export interface PublishedRepository {
  name: string;
  settings: RepositorySettings;
  /** Path of its folder. */
  path: string;
  /** Whether what its channels hold waits to be looked at again, since its settings have changed. */
  refresh: boolean;
  createdAt: number;
}

/** The published repositories. What is asked of it is answered from memory: it is asked for every file that is served. */
export interface RepositoryRegistry {
  /** By name. */
  list(): PublishedRepository[];
  find(name: string): PublishedRepository | null;
  /** Who may read it; null when there is no such repository. */
  accessOf(name: string): 'public' | 'private' | null;
  /** @throws ServerError `conflict` when it is there, `unprocessable` when a key cannot sign. */
  add(name: string, settings: RepositoryPatch, by: Actor): Promise<PublishedRepository>;
  /** Makes a private one with the defaults if there is none: for what a treeline.yaml publishes to. */
  ensure(name: string, why: string): Promise<PublishedRepository>;
  /** @throws ServerError `not-found`, `unprocessable` when a new key cannot sign. */
  set(name: string, patch: RepositoryPatch, by: Actor): Promise<PublishedRepository>;
  /** Notes that nothing of it waits to be looked at any more. */
  refreshed(name: string): Promise<void>;
  /**
   * Removes it with all that is published in it; the store keeps everything.
   *
   * @throws ServerError `not-found`; `conflict` while devices follow it, unless `force`.
   */
  remove(name: string, by: Actor, o: { force: boolean }): Promise<void>;
}

export interface RegistryDeps {
  db: Database;
  events: EventLog;
  audit: AuditLog;
  folder: Pick<DataFolder, 'repos' | 'keys'>;
  /** Those that are made at the start, for anybody to read. */
  publicNames: readonly string[];
}

/** Folders of repositories that were removed: no repository's name begins like this. */
const REMOVED = '.removed-';

/**
 * Opens the registry. Makes what `publicNames` lacks, takes over the folders of a version that had no table, and ends
 * removals that a crash interrupted.
 */
export async function openRepositories(deps: RegistryDeps): Promise<RepositoryRegistry> {
  const { db, events, audit, folder } = deps;
  let known = new Map<string, PublishedRepository>();
  const load = async (): Promise<void> => {
    const rows = await db.selectFrom('repositories').selectAll().orderBy('name').execute();
    known = new Map(rows.map((row) => [row.name, repositoryOf(row, folder.repos)]));
  };
  const find = (name: string): PublishedRepository => {
    const found = known.get(name);
    if (found) return found;
    throw new ServerError('not-found', `there is no repository "${name}"`, {
      hint: 'Those that there are: treeline repository list',
    });
  };
  /** The row is there before the folder: a folder without a row is nobody's. */
  const make = async (row: RepositoryRow, by: Actor, why: string): Promise<boolean> => {
    const made = await db.transaction().execute(async (trx) => {
      const { numInsertedOrUpdatedRows } = await trx
        .insertInto('repositories')
        .values(row)
        .onConflict((c) => c.doNothing())
        .executeTakeFirstOrThrow();
      if (!numInsertedOrUpdatedRows) return false;
      const settings = JSON.parse(row.settings) as RepositoryPatch;
      const { access } = RepositorySettings.parse(settings);
      await events.append('repository.added', { repository: row.name, access, why }, trx);
      await audit.record({ caller: by, action: 'repository.add', subject: row.name, data: { ...settings, why } }, trx);
      return true;
    });
    await createRepo(join(folder.repos, row.name), { mode: 'archive' });
    await load();
    return made;
  };

  await load();
  await takeOver(deps, known);
  await load();
  for (const name of deps.publicNames) {
    if (!known.has(name)) await make(newRow(name, { access: 'public' }), null, 'public by the server’s settings');
  }
  for (const { name, path } of known.values()) {
    if (existsSync(join(path, 'config'))) continue;
    await createRepo(path, { mode: 'archive' });
    await db.updateTable('repositories').set({ refresh: 1 }).where('name', '=', name).execute();
  }
  await load();

  return {
    list: () => [...known.values()],
    find: (name) => known.get(name) ?? null,
    accessOf: (name) => known.get(name)?.settings.access ?? null,

    async add(name, settings, by) {
      await tryToSign(folder.keys, settings.signing ?? []);
      if (await make(newRow(name, settings), by, 'by hand')) return find(name);
      throw new ServerError('conflict', `there is a repository "${name}" already`, {
        hint: `Change it with: treeline repository set ${name} …`,
      });
    },

    async ensure(name, why) {
      if (!known.has(name)) await make(newRow(name, {}), null, why);
      return find(name);
    },

    async set(name, patch, by) {
      const before = find(name);
      const added = (patch.signing ?? []).filter((key) => !before.settings.signing.some((one) => same(one, key)));
      await tryToSign(folder.keys, added);
      await db.transaction().execute(async (trx) => {
        const row = await trx.selectFrom('repositories').selectAll().where('name', '=', name).executeTakeFirst();
        if (!row) throw new ServerError('not-found', `there is no repository "${name}"`);
        const settings = mergeSettings(JSON.parse(row.settings) as RepositoryPatch, patch);
        const resign = patch.signing !== undefined && !same(patch.signing, before.settings.signing);
        await trx
          .updateTable('repositories')
          .set({ settings: JSON.stringify(settings), ...(resign ? { refresh: 1 } : {}) })
          .where('name', '=', name)
          .execute();
        await events.append('repository.changed', { repository: name, ...patch }, trx);
        await audit.record({ caller: by, action: 'repository.set', subject: name, data: { ...patch } }, trx);
      });
      await load();
      return find(name);
    },

    async refreshed(name) {
      await db.updateTable('repositories').set({ refresh: 0 }).where('name', '=', name).execute();
      await load();
    },

    async remove(name, by, { force }) {
      const { path } = find(name);
      await assertUnfollowed(db, name, force);
      const trash = join(folder.repos, `${REMOVED}${name}-${randomBytes(6).toString('hex')}`);
      // Killed after the rename, the repository is made anew at the next start: it was not removed yet.
      if (existsSync(path)) await rename(path, trash);
      await db.transaction().execute(async (trx) => {
        await trx.deleteFrom('repositories').where('name', '=', name).execute();
        const message = `repository ${name} was removed`;
        await end(trx, { repository: name, from: 'published', to: 'withdrawn', message });
        await end(trx, { repository: name, from: 'publishing', to: 'abandoned', message });
        await events.append('repository.removed', { repository: name }, trx);
        await audit.record({ caller: by, action: 'repository.remove', subject: name, data: { force } }, trx);
      });
      await load();
      await rm(trash, { recursive: true, force: true });
    },
  };
}

function newRow(name: string, settings: RepositoryPatch): RepositoryRow {
  return { name, settings: JSON.stringify(settings), refresh: 0, created_at: Date.now() };
}

function repositoryOf(row: RepositoryRow, repos: string): PublishedRepository {
  return {
    name: row.name,
    settings: RepositorySettings.parse(JSON.parse(row.settings)),
    path: join(repos, row.name),
    refresh: row.refresh === 1,
    createdAt: row.created_at,
  };
}

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Rows for repositories that have releases but no row, and an end to removals that were under way. */
async function takeOver({ db, folder }: RegistryDeps, known: ReadonlyMap<string, unknown>): Promise<void> {
  for (const name of await readdir(folder.repos)) {
    if (name.startsWith(REMOVED)) await rm(join(folder.repos, name), { recursive: true, force: true });
  }
  const published = await db
    .selectFrom('releases')
    .select('repository')
    .distinct()
    .where('state', '=', 'published')
    .execute();
  for (const { repository } of published) {
    if (known.has(repository)) continue;
    await db.insertInto('repositories').values(newRow(repository, {})).execute();
  }
}

async function assertUnfollowed(db: Database, name: string, force: boolean): Promise<void> {
  if (force) return;
  const devices = await db.selectFrom('devices').select('id').where('repository', '=', name).orderBy('id').execute();
  if (devices.length === 0) return;
  const some = devices.slice(0, 5).map(({ id }) => id);
  const rest = devices.length > some.length ? ` and ${devices.length - some.length} more` : '';
  throw new ServerError('conflict', `${devices.length} devices follow ${name}: ${some.join(', ')}${rest}`, {
    hint: 'Move them to another repository first (treeline devices set), or remove it all the same with --force.',
  });
}

/** Ends all releases and publications of a repository that are in a state. */
async function end(
  trx: Queryable,
  o: { repository: string; from: 'published' | 'publishing'; to: 'withdrawn' | 'abandoned'; message: string },
): Promise<void> {
  for (const table of ['releases', 'publications'] as const) {
    await trx
      .updateTable(table)
      .set({ state: o.to, message: o.message })
      .where('repository', '=', o.repository)
      .where('state', '=', o.from)
      .execute();
  }
}
