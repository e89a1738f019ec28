import { setTimeout } from 'node:timers/promises';
import { BUILT_IN_PROJECT, BUILT_INS } from '@treeline/pipeline';
import type { Actor } from '../access/audit.ts';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import { messageOf, ServerError } from '../errors.ts';
import { createRun } from '../runs/create.ts';
import type { RunRow } from '../runs/tables.ts';
import { importRevision } from './import.ts';
import { fetchMirror, mirrorAt, remoteHead, removeMirror, resolveRevision } from './mirror.ts';
import type { ProjectRow, RevisionRow } from './tables.ts';

export interface NewProject {
  name: string;
  url: string;
  branch?: string | undefined;
  /** Whether the first fetch starts a run; default true. */
  run?: boolean | undefined;
}

/** The projects: which repositories are followed, and what of them is in the store. */
export interface Sources {
  /** @throws ServerError `not-found` naming those that there are. */
  find(name: string): Promise<ProjectRow>;
  /** Registers a project after asking its repository for the branch. @throws ServerError conflict, source-* */
  add(project: NewProject, by: Actor): Promise<ProjectRow>;
  /** Forgets a project and its mirror; what is in the store stays. @throws ServerError `not-found` */
  remove(name: string, by: Actor): Promise<void>;
  /** Fetches now and starts a run, with `revision` instead of the branch's newest when given. */
  run(name: string, o: { by: Actor; revision?: string | undefined }): Promise<RunRow>;
  /** Looks at every project once; a new revision starts a run. Errors are noted in the project. */
  poll(): Promise<void>;
  /** Polls until the server closes. */
  watch(): Promise<void>;
}

/** Projects that are looked at at the same time. */
const AT_ONCE = 8;
/** How long adding a project waits for its first fetch. */
const PATIENCE_MS = 15_000;

export function createSources(core: Core): Sources {
  const { db, events, audit, settings, log } = core;
  const limits = { signal: core.signal, timeoutSeconds: settings.gitTimeoutSeconds };
  const exclusive = perName();

  const find = async (name: string): Promise<ProjectRow> => {
    const row = await db.selectFrom('projects').selectAll().where('name', '=', name).executeTakeFirst();
    if (row) return row;
    const all = await db.selectFrom('projects').select('name').orderBy('name').execute();
    throw new ServerError('not-found', `there is no project "${name}"`, {
      hint: all.length === 0 ? 'Add one first.' : `There are: ${all.map((p) => p.name).join(', ')}.`,
    });
  };

  /** Brings a project's newest revision into the store; `start` says whether and how that makes a run. */
  const update = async (
    project: ProjectRow,
    start: (before: ProjectRow, revision: RevisionRow) => { reason: string; push: boolean; by?: Actor } | null,
  ): Promise<RunRow | null> => {
    const head = await remoteHead(project.url, project.branch, limits);
    const mirror = mirrorAt(core.folder.sources, project.name, project.url);
    if (head.revision !== project.head) await fetchMirror(mirror, limits);
    const revision = await importRevision(core, project, mirror, head.revision);
    const wanted = start(project, revision);
    if (project.head === head.revision && project.error === null && !wanted) return null;
    const run = await db.transaction().execute(async (trx) => {
      await trx
        .updateTable('projects')
        .set({ head: head.revision, error: null, fetched_at: Date.now(), start_run: 1 })
        .where('name', '=', project.name)
        .execute();
      if (project.head !== head.revision) {
        const { name, branch } = project;
        const data = { project: name, branch, revision: head.revision, subject: revision.subject };
        await events.append('project.pushed', data, trx);
      }
      if (!wanted) return null;
      const { name, branch } = project;
      const trigger = { project: name, branch, revision: head.revision };
      const run = await createRun(trx, events, { reason: wanted.reason, ...(wanted.push ? { trigger } : {}) });
      if (wanted.by !== undefined) await auditRun(trx, run, wanted.by);
      return run;
    });
    if (run) core.runs.notify();
    return run;
  };

  const auditRun = (trx: Queryable, { id, reason }: RunRow, by: Actor): Promise<void> =>
    audit.record({ caller: by, action: 'run.create', subject: id, data: { reason } }, trx);

  const noteError = async (project: ProjectRow, error: unknown): Promise<void> => {
    if (core.signal.aborted) return;
    const known = error instanceof ServerError ? error : null;
    const problem = JSON.stringify({
      code: known?.code ?? 'internal',
      message: known ? known.message : `the revision could not be stored: ${messageOf(error)}`,
      ...(known?.hint ? { hint: known.hint } : {}),
    });
    if (!known) log.error({ err: error, project: project.name }, 'a project could not be updated');
    if (project.error === problem) return;
    await db.transaction().execute(async (trx) => {
      await trx.updateTable('projects').set({ error: problem }).where('name', '=', project.name).execute();
      await events.append('project.failed', { project: project.name, ...JSON.parse(problem) }, trx);
    });
  };

  const look = (name: string): Promise<void> =>
    exclusive(name, async () => {
      const project = await db.selectFrom('projects').selectAll().where('name', '=', name).executeTakeFirst();
      if (!project) return;
      try {
        await update(project, (before, revision) =>
          before.head === revision.revision || (before.head === null && before.start_run === 0)
            ? null
            : { reason: `push to ${name}: ${revision.subject}`, push: true },
        );
      } catch (error) {
        await noteError(project, error);
      }
    });

  const names = async (): Promise<string[]> => {
    const projects = await db.selectFrom('projects').select('name').orderBy('name').execute();
    return projects.map((project) => project.name);
  };

  return {
    find,

    async add(project, by) {
      if (project.name === BUILT_IN_PROJECT) {
        const hint = `There are: ${Object.keys(BUILT_INS)
          .map((name) => `${BUILT_IN_PROJECT}/${name}`)
          .join(', ')}.`;
        throw new ServerError('invalid-request', 'the project name "treeline" is taken by what comes with Treeline', {
          hint,
        });
      }
      const exists = await db.selectFrom('projects').select('name').where('name', '=', project.name).executeTakeFirst();
      if (exists) throw new ServerError('conflict', `there is a project "${project.name}" already`);
      const head = await remoteHead(project.url, project.branch, limits);
      const row: ProjectRow = {
        name: project.name,
        url: project.url,
        branch: head.branch,
        head: null,
        error: null,
        fetched_at: null,
        start_run: project.run === false ? 0 : 1,
        created_at: Date.now(),
      };
      await db.transaction().execute(async (trx) => {
        const { numInsertedOrUpdatedRows } = await trx
          .insertInto('projects')
          .values(row)
          .onConflict((c) => c.doNothing())
          .executeTakeFirstOrThrow();
        if (!numInsertedOrUpdatedRows) {
          throw new ServerError('conflict', `there is a project "${project.name}" already`);
        }
        const data = { url: row.url, branch: row.branch };
        await events.append('project.added', { project: row.name, ...data }, trx);
        await audit.record({ caller: by, action: 'project.add', subject: row.name, data }, trx);
      });
      // A removed project of this name may have left the mirror of another repository.
      await removeMirror(mirrorAt(core.folder.sources, row.name, row.url));
      // A large repository takes longer than a caller waits; its first fetch then goes on by itself.
      await Promise.race([look(row.name), setTimeout(PATIENCE_MS, undefined, { ref: false })]);
      return await find(row.name);
    },

    async remove(name, by) {
      await exclusive(name, async () => {
        const project = await find(name);
        await db.transaction().execute(async (trx) => {
          await trx.deleteFrom('projects').where('name', '=', name).execute();
          await events.append('project.removed', { project: name }, trx);
          await audit.record({ caller: by, action: 'project.remove', subject: name }, trx);
        });
        await removeMirror(mirrorAt(core.folder.sources, name, project.url));
      });
    },

    run: (name, { by, revision }) =>
      exclusive(name, async () => {
        const project = await find(name);
        if (revision === undefined) {
          const run = await update(project, (before, found) => ({
            reason: before.head === found.revision ? `${name} by hand` : `push to ${name}: ${found.subject}`,
            push: before.head !== found.revision,
            by,
          }));
          return run!;
        }
        const mirror = mirrorAt(core.folder.sources, name, project.url);
        await fetchMirror(mirror, limits);
        const id = await resolveRevision(mirror, revision, limits);
        await importRevision(core, project, mirror, id);
        const reason = `${name} at ${revision}, by hand`;
        const run = await db.transaction().execute(async (trx) => {
          const made = await createRun(trx, events, { reason, revisions: new Map([[name, id]]) });
          await auditRun(trx, made, by);
          return made;
        });
        core.runs.notify();
        return run;
      }),

    async poll() {
      await Promise.all((await names()).map(look));
    },

    async watch() {
      const looking = new Map<string, Promise<void>>();
      while (!core.signal.aborted) {
        // A repository that does not answer must not hold up the others.
        for (const name of await names().catch(() => [])) {
          if (looking.has(name) || looking.size >= AT_ONCE) continue;
          const one = look(name)
            .catch((error) => log.error({ err: error, project: name }, 'a project could not be polled'))
            .finally(() => looking.delete(name));
          looking.set(name, one);
        }
        await setTimeout(core.settings.pollSeconds * 1000, undefined, { signal: core.signal }).catch(() => {});
      }
      await Promise.all(looking.values());
    },
  };
}

/** Lets one task per name run at a time. */
function perName(): <T>(name: string, task: () => Promise<T>) => Promise<T> {
  const tails = new Map<string, Promise<unknown>>();
  return async (name, task) => {
    const before = tails.get(name) ?? Promise.resolve();
    const mine = before.then(task, task);
    const tail = mine.catch(() => {});
    tails.set(name, tail);
    try {
      return await mine;
    } finally {
      if (tails.get(name) === tail) tails.delete(name);
    }
  };
}
