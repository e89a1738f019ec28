import {
  describeChange,
  diffTrees,
  downloadSize,
  metadataValue,
  OstreeError,
  readCommit,
  resolveRev,
} from '@treeline/ostree';
import { BUILT_IN_PROJECT, isBuiltIn } from '@treeline/pipeline';
import { type Artifact, type CommitInfo, type Diff, Provenance } from '../api/schema.ts';
import { builtInOf } from '../built-ins/note.ts';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import { PROVENANCE } from '../executions/outputs.ts';
import { outputsOf } from '../executions/spec.ts';
import { labelsOf } from './labels.ts';
import { channelHeads } from './releases.ts';
import { time } from './time.ts';

/** Newest artifacts, each once, newest first. */
export async function listArtifacts(
  db: Queryable,
  filter: { project?: string | undefined; artifact?: string | undefined; limit: number },
): Promise<Artifact[]> {
  let query = db
    .selectFrom('run_jobs')
    .innerJoin('runs', 'runs.id', 'run_jobs.run_id')
    .innerJoin('results', 'results.key', 'run_jobs.key')
    .select(['run_jobs.job', 'run_jobs.run_id', 'results.key', 'results.outputs', 'results.created_at'])
    .where('run_jobs.state', '=', 'passed')
    .orderBy('runs.number', 'desc')
    .orderBy('run_jobs.position')
    .limit(filter.limit * 4 + 200);
  if (filter.project !== undefined) query = query.where('run_jobs.job', 'like', `${filter.project}/%`);
  if (filter.artifact !== undefined) query = query.where('results.outputs', 'like', `%"${filter.artifact}":%`);
  const artifacts = new Map<string, Artifact>();
  for (const row of await query.execute()) {
    const [project = '', job = ''] = row.job.split('/');
    for (const [artifact, output] of Object.entries(outputsOf(row))) {
      // "_" and "%" are wildcards of LIKE, and a name may hold "_".
      if (filter.project !== undefined && project !== filter.project) continue;
      if (filter.artifact !== undefined && artifact !== filter.artifact) continue;
      const id = `${project}/${artifact}:${output.commit}`;
      if (artifacts.has(id)) continue;
      const { key, run_id: runId } = row;
      artifacts.set(id, { project, artifact, ...output, key, job, runId, createdAt: time(row.created_at) });
    }
    if (artifacts.size >= filter.limit) break;
  }
  return [...artifacts.values()].slice(0, filter.limit);
}

/**
 * The commit that a text names: `project/artifact` (its newest), `repository:channel`, a ref of the store, a checksum,
 * an abbreviation, each with any number of `^`.
 *
 * @throws ServerError `not-found`
 */
export async function resolveCommit(core: Core, text: string): Promise<string> {
  const unknown = (cause?: unknown) =>
    new ServerError('not-found', `"${text}" names no commit`, {
      cause,
      hint: 'Give a checksum, an artifact (project/artifact), a channel (repository:channel) or a ref of the store.',
    });
  const [name = '', ...parents] = text.split('^');
  if (parents.some((rest) => rest !== '')) throw unknown();
  let base = name;
  const channel = /^([A-Za-z0-9][A-Za-z0-9._-]*):(.+)$/.exec(name);
  const heads = await channelHeads(core.db);
  if (channel) {
    const head = heads.find((one) => one.repository === channel[1] && one.channel === channel[2]);
    if (!head) throw unknown();
    base = head.commit;
  } else if (/^[^/]+\/[^/]+$/.test(name)) {
    const [project, artifact = ''] = name.split('/');
    const builtIn = project === BUILT_IN_PROJECT && isBuiltIn(artifact) ? await core.builtIns.get(artifact) : null;
    const [newest] = await listArtifacts(core.db, { project, artifact, limit: 1 });
    // A channel's name alone is enough while one repository has it.
    const named = heads.filter((one) => one.channel === name);
    base = builtIn?.commit ?? newest?.commit ?? (named.length === 1 ? named[0]!.commit : name);
  }
  try {
    const checksum = await resolveRev(core.store, base + '^'.repeat(parents.length));
    // A whole checksum resolves to itself, there or not.
    await readCommit(core.store, checksum);
    return checksum;
  } catch (error) {
    if (error instanceof OstreeError) throw unknown(error);
    throw error;
  }
}

/** What a commit of the store is and comes from. @throws ServerError `not-found` */
export async function readCommitInfo(core: Core, text: string): Promise<CommitInfo> {
  const checksum = await resolveCommit(core, text);
  const commit = await load(core, checksum);
  const provenance = provenanceOf(commit);
  const text2 = (name: string) => {
    const value = metadataValue(commit.metadata, name)?.value;
    return typeof value === 'string' ? value : '';
  };
  const project = text2('treeline.project');
  const revision = text2('treeline.git-revision');
  const url = text2('treeline.git-url');
  const source = revision
    ? { project, url, revision, subject: commit.subject, commit: checksum, branch: text2('treeline.git-branch') }
    : null;
  const builtIn = builtInOf(commit);
  const heads = await channelHeads(core.db);
  return {
    commit: checksum,
    tree: commit.tree,
    parent: commit.parent,
    subject: commit.subject,
    body: commit.body,
    createdAt: time(commit.timestamp * 1000),
    kind: provenance ? 'artifact' : builtIn ? 'built-in' : source ? 'source' : 'other',
    provenance,
    source,
    builtIn,
    labels: await labelsOf(core, checksum),
    channels: heads.filter((head) => head.commit === checksum).map((head) => `${head.repository}:${head.channel}`),
  };
}

/** Provenance of an artifact commit; null for any other commit, and for one that the store does not have. */
export async function readProvenance(core: Core, checksum: string): Promise<Provenance | null> {
  try {
    return provenanceOf(await readCommit(core.store, checksum));
  } catch (error) {
    if (error instanceof OstreeError) return null;
    throw error;
  }
}

function provenanceOf(commit: { metadata: Parameters<typeof metadataValue>[0] }): Provenance | null {
  const text = metadataValue(commit.metadata, PROVENANCE)?.value;
  if (typeof text !== 'string') return null;
  try {
    const parsed = Provenance.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

/** What changed between two commits, and what a device that has the first fetches for the second. */
export async function readDiff(core: Core, o: { from: string; to: string }): Promise<Diff> {
  const [from, to] = [await resolveCommit(core, o.from), await resolveCommit(core, o.to)];
  const [before, after] = [await load(core, from), await load(core, to)];
  const changes = await diffTrees(core.store, before.tree, after.tree, { download: true });
  return {
    from,
    to,
    changes: changes.map(describeChange),
    download: downloadSize(core.store, before.tree, after.tree),
  };
}

async function load(core: Core, checksum: string) {
  try {
    return await readCommit(core.store, checksum);
  } catch (error) {
    if (!(error instanceof OstreeError)) throw error;
    throw new ServerError('not-found', `the store has no commit ${checksum}`, { cause: error });
  }
}
