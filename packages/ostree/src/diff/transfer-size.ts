import { lstatSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { deltaFolder, deltaName } from '../delta/names.ts';
import { hasDelta, isRetiredDelta, openDelta } from '../delta/stored.ts';
import { OstreeError, systemCode } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { objectPath, readCommit } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { readObjectHeader } from '../work/object-header.ts';
import { reachable } from './download.ts';

/** What travels of a commit, and how much room it takes where it is unpacked. Bytes are those of bodies on the wire. */
export interface TransferAmount {
  bytes: number;
  /** Content as files have it; of a folder or other metadata, its own bytes. */
  unpacked: number;
}

/** What a holder of some commits has to fetch of another one. */
export interface TransferSize extends TransferAmount {
  /** Objects that none of the held commits has, the commit itself among them. */
  objects: number;
  /** The same by static delta: the smallest of those from a held commit. */
  delta: DeltaTransfer | null;
}

/** What a static delta transfers. */
export interface DeltaTransfer extends TransferAmount {
  from: Checksum;
  /** Folder of the repository that its files are in. */
  folder: string;
  /** Its superblock and the parts that are not inside that. */
  files: { name: string; bytes: number }[];
  /** Objects that it leaves to be fetched by themselves. */
  fallbacks: number;
}

/** Objects whose headers are read before others get a turn. */
const BATCH = 200;

/**
 * How much a pull of `commit` transfers to somebody who has the commits `held`. Held commits that are not in this
 * repository count for nothing.
 *
 * @throws OstreeError `not-found` if the commit is not whole here
 */
export async function transferSize(repo: Repo, commit: Checksum, held: readonly Checksum[]): Promise<TransferSize> {
  const { tree } = await readCommit(repo, commit);
  const known = new Set<string>();
  for (const one of held) {
    const there = await heldTree(repo, one);
    if (there !== null) for (const name of reachable(repo, there)) known.add(name);
  }
  const own = held.includes(commit) ? 0 : sizeOf(repo, 'commit', commit);
  const size: TransferSize = { objects: own === 0 ? 0 : 1, bytes: own, unpacked: own, delta: null };
  let read = 0;
  for (const name of reachable(repo, tree)) {
    if (known.has(name)) continue;
    const [checksum, type] = name.split('.') as [Checksum, 'file' | 'dirtree' | 'dirmeta'];
    const bytes = sizeOf(repo, type, checksum);
    size.objects++;
    size.bytes += bytes;
    if (type === 'file') {
      size.unpacked += readObjectHeader(repo, objectPath(repo, type, checksum), checksum).size;
      if (++read % BATCH === 0) await setImmediate();
    } else {
      size.unpacked += bytes;
    }
  }
  for (const from of held) {
    if (from === commit) continue;
    const delta = await deltaSize(repo, from, commit);
    if (delta !== null && (size.delta === null || delta.bytes < size.delta.bytes)) size.delta = delta;
  }
  return size;
}

async function heldTree(repo: Repo, commit: Checksum) {
  try {
    return (await readCommit(repo, commit)).tree;
  } catch (error) {
    if (error instanceof OstreeError && error.code === 'not-found') return null;
    throw error;
  }
}

async function deltaSize(repo: Repo, from: Checksum, to: Checksum): Promise<DeltaTransfer | null> {
  const name = { from, to };
  if (!hasDelta(repo, name) || isRetiredDelta(repo, name)) return null;
  const { superblock, path } = await openDelta(repo, deltaName(from, to));
  const { parts, fallbacks } = superblock;
  const files = [{ name: 'superblock', bytes: lstatSync(path).size }];
  for (const [index, part] of parts.entries()) {
    if (part.inline === null) files.push({ name: `${index}`, bytes: part.size });
  }
  const beside = fallbacks.reduce((sum, { size }) => sum + size, 0);
  return {
    from,
    bytes: files.reduce((sum, file) => sum + file.bytes, beside),
    unpacked: [...parts, ...fallbacks].reduce((sum, part) => sum + part.unpackedSize, 0),
    folder: deltaFolder(from, to),
    files,
    fallbacks: fallbacks.length,
  };
}

function sizeOf(repo: Repo, type: 'commit' | 'file' | 'dirtree' | 'dirmeta', checksum: Checksum): number {
  try {
    return lstatSync(objectPath(repo, type, checksum)).size;
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT') throw cause;
    const object = `${checksum}.${type}`;
    throw new OstreeError('not-found', `${repo.path}: no object ${object}`, { object, cause });
  }
}
