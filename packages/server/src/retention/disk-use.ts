import {
  type Checksum,
  CountedFiles,
  type DiskUse,
  type DiskUseRoot,
  diskUse,
  listCommits,
  openRepo,
} from '@treeline/ostree';
import { BUILT_IN_REFS } from '../built-ins/note.ts';
import type { Core } from '../core.ts';
import type { PublishedRepository } from '../publish/registry.ts';
import { readDropped, readRefs } from './facts.ts';

/** A release of a channel that is there: a commit, under the numbers that it was released with. */
export interface MeasuredRelease {
  commit: Checksum;
  /** Newest first; none for what a ref names and no release. */
  numbers: number[];
  /** It is the one that the ref names. */
  current: boolean;
  /** Nothing keeps it; it goes when its grace is over. */
  dropped: boolean;
}

export interface MeasuredRef {
  name: string;
  releases: MeasuredRelease[];
}

/** What a repository takes, and of which refs `use.roots` and their parts are, in this order. */
export interface MeasuredRepository {
  /** null: the private store. */
  repository: string | null;
  refs: MeasuredRef[];
  use: DiskUse;
}

/** Name of what belongs to no ref and no release, where refs stand; no ref is called so. */
const OTHERS = '(others)';

/**
 * Measures published repositories and the store. A file that several of them have by hard links is counted for the
 * first: the store comes first, then repositories by name.
 *
 * @param only one published repository
 */
export async function measureDiskUse(core: Core, only?: PublishedRepository): Promise<MeasuredRepository[]> {
  const counted = new CountedFiles();
  if (only) return [await measurePublished(core, only, counted)];
  const measured = [await measureStore(core, counted)];
  for (const repository of core.repositories.list()) {
    measured.push(await measurePublished(core, repository, counted));
  }
  return measured;
}

async function measurePublished(
  core: Core,
  { name, path }: PublishedRepository,
  counted: CountedFiles,
): Promise<MeasuredRepository> {
  const repo = await openRepo(path);
  const commits = await listCommits(repo);
  const dropped = await readDropped(core.db, name);
  const releases = await core.db
    .selectFrom('releases')
    .select(['number', 'channel', 'commit'])
    .where('repository', '=', name)
    .where('state', 'in', ['publishing', 'published'])
    .orderBy('number', 'desc')
    .execute();
  const refs = await readRefs(repo);
  const known = new Set(commits);
  const seen = new Set<Checksum>();
  const measured: MeasuredRef[] = [];
  const channels = new Set([...releases.map(({ channel }) => channel), ...refs.keys()]);
  for (const channel of [...channels].sort()) {
    const numbers = new Map<Checksum, number[]>();
    const head = refs.get(channel);
    if (head !== undefined) numbers.set(head, []);
    for (const { number, channel: other, commit } of releases) {
      if (other === channel) numbers.set(commit, [...(numbers.get(commit) ?? []), number]);
    }
    const there = [...numbers].filter(([commit]) => known.has(commit));
    if (there.length === 0) continue;
    for (const [commit] of there) seen.add(commit);
    const list = there.map(([commit, all]) => ({
      commit,
      numbers: all,
      current: commit === head,
      dropped: dropped.has(commit),
    }));
    measured.push({ name: channel, releases: list.sort((a, b) => (b.numbers[0] ?? 0) - (a.numbers[0] ?? 0)) });
  }
  const others = commits.filter((commit) => !seen.has(commit));
  if (others.length > 0) {
    const list = others.map((commit) => ({ commit, numbers: [], current: false, dropped: dropped.has(commit) }));
    measured.push({ name: OTHERS, releases: list });
  }
  const roots = measured.map(
    (ref): DiskUseRoot => ({
      name: ref.name,
      commits: ref.releases.map(({ commit }) => commit),
      parts: ref.releases.map(({ commit }) => ({ name: commit, commits: [commit] })),
    }),
  );
  return { repository: name, refs: measured, use: await diskUse(repo, roots, { counted, signal: core.signal }) };
}

/** Of the store, refs that the server makes by the thousand are one each: by project, and for all results of jobs. */
async function measureStore(core: Core, counted: CountedFiles): Promise<MeasuredRepository> {
  const commits = await listCommits(core.store);
  const groups = new Map<string, Set<Checksum>>();
  const seen = new Set<Checksum>();
  for (const [ref, commit] of await readRefs(core.store)) {
    const name = groupOf(ref);
    const group = groups.get(name);
    if (group) group.add(commit);
    else groups.set(name, new Set([commit]));
    seen.add(commit);
  }
  const others = commits.filter((commit) => !seen.has(commit));
  if (others.length > 0) groups.set(OTHERS, new Set(others));
  const roots = [...groups]
    .sort(([a], [b]) => Number(a === OTHERS) - Number(b === OTHERS) || (a < b ? -1 : 1))
    .map(([name, list]): DiskUseRoot => ({ name, commits: [...list] }));
  const use = await diskUse(core.store, roots, { counted, signal: core.signal });
  return { repository: null, refs: roots.map(({ name }) => ({ name, releases: [] })), use };
}

function groupOf(ref: string): string {
  const [first = '', second = ''] = ref.split('/');
  if (first === 'results' || first === 'filtered' || first === BUILT_IN_REFS) return `${first}/*`;
  return first === 'sources' && second !== '' ? `${first}/${second}/*` : ref;
}
