import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { announceIndexes, type ListedDelta, writeIndex } from '../delta/index-file.ts';
import {
  commitOfIndex,
  type DeltaName,
  deltaFolder,
  deltaIndexPath,
  deltaName,
  deltaOfFolder,
} from '../delta/names.ts';
import { isRetiredDelta, RETIRED, superblockDigest } from '../delta/stored.ts';
import { OstreeError, systemCode } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { timeSlices } from '../prune/time-slices.ts';
import type { Repo } from '../repo/repo.ts';
import { FileMemory, type Noted } from './file-memory.ts';

interface DeltaFolder extends DeltaName {
  /** As indexes and summaries call it. */
  name: string;
  /** Path of its superblock, and of what says that it is retired. */
  path: string;
  retired: string;
}

/** A delta, and where its superblock is. */
export type KnownDelta = ListedDelta & DeltaFolder;

/** The deltas and delta indexes of a repository, as they were found the last time and as far as they are that still. */
export class KnownDeltas {
  readonly superblocks: FileMemory<Checksum>;
  readonly #roots = new FileMemory<string[]>();
  readonly #folders = new FileMemory<DeltaFolder[]>();
  readonly #indexFolders = new FileMemory<Checksum[]>();
  /** What each index file lists. */
  readonly #indexes = new FileMemory<string>();

  /** @param noted digests of superblocks */
  constructor(noted: readonly Noted<Checksum>[]) {
    this.superblocks = new FileMemory(noted);
  }

  /** Every delta that is not retired, with the digest of its superblock, sorted by name. */
  async list(repo: Repo, signal: AbortSignal | undefined): Promise<KnownDelta[]> {
    const others = timeSlices(signal);
    const found: KnownDelta[] = [];
    for (const prefix of this.#prefixes(join(repo.path, 'deltas'))) {
      await others();
      for (const delta of this.#folders.get(prefix, readDeltaFolders)) {
        const look = this.superblocks.look(delta.path);
        const superblock = look.known ? look.value : await digestIfThere(repo, delta);
        if (superblock === null || existsSync(delta.retired)) continue;
        if (!look.known) look.note(superblock);
        found.push({ ...delta, superblock });
      }
    }
    this.superblocks.keepOnly(new Set(found.map(({ path }) => path)));
    return found.sort(byName);
  }

  /** These deltas with what has become of some of them; indexes of the commits that these lead to are written. */
  async update(
    repo: Repo,
    before: readonly KnownDelta[],
    changed: readonly DeltaName[],
    signal: AbortSignal | undefined,
  ): Promise<readonly KnownDelta[]> {
    if (changed.length === 0) return before;
    await announceIndexes(repo);
    const found = new Map(before.map((delta) => [delta.name, delta]));
    for (const { from, to } of changed) {
      signal?.throwIfAborted();
      const name = deltaName(from, to);
      const superblock = isRetiredDelta(repo, { from, to }) ? null : await digestIfThere(repo, { from, to });
      const folder = join(repo.path, deltaFolder(from, to));
      const [path, retired] = [join(folder, 'superblock'), join(folder, RETIRED)];
      if (superblock === null) found.delete(name);
      else found.set(name, { from, to, name, path, retired, superblock });
    }
    const deltas = [...found.values()].sort(byName);
    for (const commit of new Set(changed.map(({ to }) => to))) {
      const listed = deltas.filter(({ to }) => to === commit);
      await writeIndex(repo, commit, listed);
    }
    return deltas;
  }

  /** Makes the indexes list these deltas: one for each commit that a delta leads to, none for others. */
  async updateIndexes(repo: Repo, deltas: readonly KnownDelta[], signal: AbortSignal | undefined): Promise<void> {
    const others = timeSlices(signal);
    await announceIndexes(repo);
    const byCommit = new Map<Checksum, KnownDelta[]>();
    for (const prefix of this.#prefixes(join(repo.path, 'delta-indexes'))) {
      for (const to of this.#indexFolders.get(prefix, readIndexFolder)) byCommit.set(to, []);
    }
    for (const delta of deltas) {
      const same = byCommit.get(delta.to);
      if (same) same.push(delta);
      else byCommit.set(delta.to, [delta]);
    }
    for (const [to, listed] of byCommit) {
      await others();
      const wanted = listed.map(({ name, superblock }) => `${name} ${superblock}`).join();
      const look = this.#indexes.look(join(repo.path, deltaIndexPath(to)));
      if (look.known && look.value === wanted && listed.length > 0) continue;
      await writeIndex(repo, to, listed);
      // What was there already; what was written just now is too young to be believed next time.
      if (!look.known) look.note(wanted);
    }
  }

  #prefixes(root: string): string[] {
    return this.#roots.get(root, readPrefixes);
  }
}

/** As strcmp: names are of hexadecimal digits and "-". */
function byName(a: KnownDelta, b: KnownDelta): number {
  return a.name < b.name ? -1 : 1;
}

function readPrefixes(root: string): string[] {
  return namesIn(root).map((name) => join(root, name));
}

function readDeltaFolders(folder: string): DeltaFolder[] {
  return namesIn(folder).flatMap((rest) => {
    const delta = deltaOfFolder(basename(folder), rest);
    if (!delta) return [];
    const path = join(folder, rest, 'superblock');
    return [{ ...delta, name: deltaName(delta.from, delta.to), path, retired: join(folder, rest, RETIRED) }];
  });
}

function readIndexFolder(folder: string): Checksum[] {
  const prefix = basename(folder);
  return namesIn(folder).flatMap((file) => (prefix.length === 2 ? (commitOfIndex(prefix, file) ?? []) : []));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}

async function digestIfThere(repo: Repo, delta: DeltaName): Promise<Checksum | null> {
  try {
    return await superblockDigest(repo, delta);
  } catch (error) {
    if (error instanceof OstreeError && error.code === 'not-found') return null;
    throw error;
  }
}
