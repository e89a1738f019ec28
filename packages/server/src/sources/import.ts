import { hasObject, type Tree, type Variant, withTransaction, writeCommit, writeTar } from '@treeline/ostree';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import { type GitOptions, git, gitStream } from './git.ts';
import type { Mirror } from './mirror.ts';
import type { RevisionRow } from './tables.ts';

/** Name of the file that says what a project's jobs are. */
export const PIPELINE_FILE = 'treeline.yaml';
const PIPELINE_LIMIT = 1024 * 1024;

/**
 * The source commit of a revision: made when it is not in the store yet. git's tree exactly: files 0644 or 0755,
 * symlinks as they are, LFS pointers replaced by what they point to; submodules are empty folders.
 * The commit's time is git's, so making it again after a crash gives the same commit.
 */
export async function importRevision(
  core: Core,
  project: { name: string; branch: string },
  mirror: Mirror,
  revision: string,
): Promise<RevisionRow> {
  const { db, settings } = core;
  const existing = await revisionInStore(core, project.name, revision);
  if (existing) return existing;

  const o: GitOptions = { gitDir: mirror.gitDir, timeoutSeconds: settings.gitTimeoutSeconds, signal: core.signal };
  const [time = '0', ...words] = (await git(['log', '-1', '--format=%ct%n%s', revision], o)).split('\n');
  const subject = words.join('\n').trim();
  const pipeline = await readPipeline(revision, o);
  const metadata: Array<[string, Variant]> = [
    ['treeline.project', { type: 's', value: project.name }],
    ['treeline.git-url', { type: 's', value: mirror.url }],
    ['treeline.git-revision', { type: 's', value: revision }],
    ['treeline.git-branch', { type: 's', value: project.branch }],
  ];
  return await withTransaction(core.store, async (tx) => {
    // A revision may have no files at all. Whether git itself failed is seen from its exit code.
    const tree: Tree = await gitStream(await archiveArguments(mirror, revision, o), o, (tar) =>
      writeTar(tx, tar, { allowEmpty: true }),
    );
    const commit = await writeCommit(tx, { tree, subject, timestamp: Number(time), metadata });
    tx.setRef(sourceRef(project.name, revision), commit);
    const now = Date.now();
    const row: RevisionRow = {
      project: project.name,
      revision,
      commit,
      contents: tree.contents,
      meta: tree.meta,
      url: mirror.url,
      branch: project.branch,
      subject,
      pipeline,
      created_at: now,
      used_at: now,
    };
    // In here, so that no prune finds a commit that nothing names. A crash before the commit is in place leaves a row
    // that is looked through below.
    await db
      .insertInto('revisions')
      .values(row)
      .onConflict((c) => c.columns(['project', 'revision']).doUpdateSet(row))
      .execute();
    return row;
  });
}

/** To the hour it is known when a revision was used; retention keeps it for a day at least. */
const USED_MS = 3_600_000;

/** A revision whose source commit is in the store; null when it is to be made, for the first time or again. */
async function revisionInStore(core: Core, project: string, revision: string): Promise<RevisionRow | null> {
  const { db, store } = core;
  const row = await db
    .selectFrom('revisions')
    .selectAll()
    .where('project', '=', project)
    .where('revision', '=', revision)
    .executeTakeFirst();
  if (!row) return null;
  const { commit } = row;
  if (Date.now() - row.used_at < USED_MS) return hasObject(store, 'commit', commit) ? row : null;
  const used = { used_at: Date.now() };
  await db.updateTable('revisions').set(used).where('project', '=', project).where('revision', '=', revision).execute();
  // No prune is at work in here, and the next one knows of the use.
  return await withTransaction(store, async (tx) => {
    if (!hasObject(store, 'commit', commit)) return null;
    tx.setRef(sourceRef(project, revision), commit);
    return { ...row, ...used };
  });
}

function sourceRef(project: string, revision: string): string {
  return `sources/${project}/${revision}`;
}

/** Text of treeline.yaml; null when the revision has none. */
async function readPipeline(revision: string, o: GitOptions): Promise<string | null> {
  const entry = await git(['ls-tree', '-l', revision, '--', PIPELINE_FILE], o);
  const match = /^(\d{6}) blob ([0-9a-f]+) +(\d+)\t/.exec(entry);
  if (!match) return null;
  if (match[1] === '120000' || Number(match[3]) > PIPELINE_LIMIT) {
    throw new ServerError('source-invalid', `${PIPELINE_FILE} at ${revision.slice(0, 12)} is a symlink or too large`, {
      hint: `It must be a file of at most ${PIPELINE_LIMIT / 1024} KiB.`,
    });
  }
  return await git(['cat-file', 'blob', match[2]!], o);
}

async function archiveArguments(mirror: Mirror, revision: string, o: GitOptions): Promise<string[]> {
  const lfs = (await usesLfs(revision, o))
    ? [
        '-c',
        'filter.lfs.process=git-lfs filter-process',
        '-c',
        'filter.lfs.smudge=git-lfs smudge -- %f',
        '-c',
        'filter.lfs.required=true',
        '-c',
        `remote.origin.url=${mirror.url}`,
      ]
    : [];
  return [...lfs, '-c', 'tar.umask=0022', 'archive', '--format=tar', revision];
}

async function usesLfs(revision: string, o: GitOptions): Promise<boolean> {
  const files = await git(['ls-tree', '-r', '--name-only', '-z', revision], o);
  const attributes = files.split('\0').filter((path) => path === '.gitattributes' || path.endsWith('/.gitattributes'));
  for (const path of attributes) {
    if (/\bfilter=lfs\b/.test(await git(['cat-file', 'blob', `${revision}:${path}`], o))) return true;
  }
  return false;
}
