import { statSync } from 'node:fs';
import { type Commit, decodeCommit } from '../formats/commit.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import type { Checksum } from '../formats/object-name.ts';
import { objectPath, readMetadata } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { treeReader } from '../repo/tree-reader.ts';
import { type ArrangedPart, arrange, type FileToArrange } from './arrange.ts';
import type { DeltaWork } from './delta-work.ts';
import type { GenerateDeltaOptions } from './generate.ts';
import { ObjectFacts } from './object-facts.ts';
import { SketchIndex } from './sketch.ts';
import { isComparable, isUsableSource, SourceFinder } from './sources.ts';
import type { DeltaFallback } from './superblock.ts';
import { newObjects, type TreeObjects, treeObjects } from './tree-objects.ts';

/** What a delta holds, and what it is made of. */
export interface DeltaStats {
  newMetadata: number;
  newFiles: number;
  newSymlinks: number;
  /** New files with a source. */
  modified: number;
  /** Files made by a patch, and by copying stretches of their source. */
  patched: number;
  copied: number;
  /** Bytes that are copied. */
  copiedBytes: number;
  /** Bytes of all new objects as they are stored in this repository. */
  looseBytes: number;
}

/** Decimal, as libostree counts megabytes here. */
const MEGABYTE = 1_000_000;

interface NewFile {
  checksum: Checksum;
  size: number;
  from: Checksum | null;
  paths: readonly string[];
}

/** What goes into a delta, and in which part. */
export interface DeltaPlan {
  parts: ArrangedPart[];
  fallbacks: DeltaFallback[];
  stats: DeltaStats;
}

/** Source and result of this size are compared in memory at most, whatever the options say. */
const MAX_COMPARED_BYTES = 400 * MEGABYTE;

/**
 * Finds out what `to` has and `from` has not, what each new file can be made from, and deals it all out to parts.
 *
 * @throws OstreeError `not-found` when an object of one of the two trees is missing
 */
export async function planDelta(
  repo: Repo,
  from: Checksum | null,
  { tree }: Commit,
  options: GenerateDeltaOptions,
  work: DeltaWork,
): Promise<DeltaPlan> {
  const reader = treeReader(repo);
  const before = from === null ? null : decodeCommit(await readMetadata(repo, 'commit', from), `${from}.commit`);
  const old = before ? treeObjects(reader, before.tree) : null;
  const target = treeObjects(reader, tree);
  const fresh = newObjects(old, target);
  const facts = new ObjectFacts(repo);
  const sources = old ? new SourceFinder(old, (checksum) => facts.regular(checksum)) : null;
  const stats = emptyStats();
  const metadata = (['dirmeta', 'dirtree'] as const).flatMap((type) =>
    fresh[`${type}s`].map((checksum) => {
      const { size } = statSync(objectPath(repo, type, checksum));
      stats.looseBytes += size;
      return { type, checksum, size };
    }),
  );
  stats.newMetadata = metadata.length;
  const symlinks: FileToArrange[] = [];
  const regular: NewFile[] = [];
  for (const { checksum, paths } of fresh.files) {
    const { header, size, stored } = facts.of(checksum);
    stats.looseBytes += stored;
    if ((header.mode & S_IFMT) === S_IFLNK) {
      symlinks.push({ checksum, paths, header, size, encoding: { kind: 'whole', code: false }, estimate: 16 });
      continue;
    }
    let source = sources?.find(paths, size) ?? null;
    if (source !== null && facts.of(source).size + size > MAX_COMPARED_BYTES) source = null;
    regular.push({ checksum, size, from: source, paths });
  }
  if (old) await findSimilar(old, (checksum) => target.files.has(checksum), regular, facts, work);
  stats.modified = regular.filter(({ from }) => from !== null).length;
  stats.newFiles = regular.length;
  stats.newSymlinks = symlinks.length;
  const limit = options.minFallbackBytes ?? 4 * MEGABYTE;
  const isLarge = (size: number) => limit > 0 && size > limit;
  // What has no source and is large need not be read at all.
  const compared = await work.encode(regular.filter(({ from, size }) => from !== null || !isLarge(size)));
  const files: FileToArrange[] = [];
  const fallbacks: DeltaFallback[] = [];
  for (const { checksum, size, paths } of regular) {
    const { header, stored } = facts.of(checksum);
    const encoded = compared.get(checksum);
    if (!encoded || (encoded.encoding.kind === 'whole' && isLarge(size))) {
      const served = repo.mode === 'archive' ? stored : size;
      fallbacks.push({ type: 'file', checksum, size: served, unpackedSize: size });
      continue;
    }
    const { encoding, estimate } = encoded;
    if (encoding.kind === 'patch') stats.patched++;
    if (encoding.kind === 'copy') {
      stats.copied++;
      stats.copiedBytes += size - encoding.fresh.length;
    }
    files.push({ checksum, paths, header, size, encoding, estimate });
  }
  fallbacks.sort((a, b) => (a.checksum < b.checksum ? -1 : 1));
  const parts = arrange(metadata, [...files, ...symlinks], options.maxPartBytes ?? DEFAULT_PART_BYTES);
  return { parts, fallbacks, stats };
}

/** Smaller files are not worth the search. */
const SIMILAR_BYTES = 4096;

/** For files that no name led to a source for: looks for a similar one among the old files that have gone. */
async function findSimilar(
  old: TreeObjects,
  kept: (checksum: Checksum) => boolean,
  files: NewFile[],
  facts: ObjectFacts,
  work: DeltaWork,
): Promise<void> {
  const lost = files.filter(({ from, size, paths }) => from === null && size >= SIMILAR_BYTES && isComparable(paths));
  if (lost.length === 0) return;
  const used = new Set(files.map(({ from }) => from));
  const gone: { checksum: Checksum; size: number }[] = [];
  for (const [checksum, paths] of old.files) {
    if (used.has(checksum) || kept(checksum) || !isComparable(paths)) continue;
    const fact = facts.regular(checksum);
    if (fact && fact.size >= SIMILAR_BYTES && isUsableSource(fact)) gone.push({ checksum, size: fact.size });
  }
  if (gone.length === 0) return;
  const sketches = await work.sketch([...gone, ...lost]);
  const index = new SketchIndex(
    gone.map(({ checksum }) => checksum),
    sketches.slice(0, gone.length),
  );
  for (const [position, file] of lost.entries()) {
    const source = index.find(sketches[gone.length + position]!);
    if (source !== null && facts.of(source).size + file.size <= MAX_COMPARED_BYTES) file.from = source;
  }
}

/**
 * Half of libostree's: each core holds one while it compresses, and a client while it unpacks. Smaller parts compress less
 * well, each by some two kilobytes.
 */
const DEFAULT_PART_BYTES = 16 * MEGABYTE;

function emptyStats(): DeltaStats {
  return {
    newMetadata: 0,
    newFiles: 0,
    newSymlinks: 0,
    modified: 0,
    patched: 0,
    copied: 0,
    copiedBytes: 0,
    looseBytes: 0,
  };
}
