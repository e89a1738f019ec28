import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OstreeError } from '../errors.ts';
import { assertChecksum, type Checksum, checksumFromBytes, checksumToBytes } from '../formats/object-name.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { decode } from '../gvariant/decode.ts';
import { encode, type Variant } from '../gvariant/encode.ts';
import { lockRepo } from '../repo/lock.ts';
import { type Repo, writeConfig } from '../repo/repo.ts';
import { type DeltaName, deltaIndexPath, deltaName, parseDeltaName } from './names.ts';
import { isRetiredDelta, listDeltaIndexes, listDeltas, superblockDigest } from './stored.ts';

/** A delta with the SHA-256 of its superblock, as an index or a summary lists it. */
export interface ListedDelta extends DeltaName {
  readonly superblock: Checksum;
}

/** The key under which indexes and summaries list deltas. */
export const STATIC_DELTAS = 'ostree.static-deltas';

/** A list of deltas as the value of `ostree.static-deltas`: name -> 32 bytes. */
export function encodeDeltaList(deltas: readonly ListedDelta[]): Variant {
  return {
    type: 'a{sv}',
    value: deltas.map(({ from, to, superblock }) => [
      deltaName(from, to),
      { type: 'ay', value: checksumToBytes(superblock) },
    ]),
  };
}

/** Reads the value of `ostree.static-deltas`. Throws `corrupt`. */
export function decodeDeltaList(value: Variant, object: string): ListedDelta[] {
  if (value.type !== 'a{sv}') throw new OstreeError('corrupt', `${object}: a list of deltas of type ${value.type}`);
  return (value.value as unknown as [string, Variant][]).map(([name, digest]) => {
    if (digest.type !== 'ay') throw new OstreeError('corrupt', `${object}: a digest of type ${digest.type}`);
    return { ...parseDeltaName(name), superblock: checksumFromBytes(digest.value as Uint8Array, object) };
  });
}

/** Serialises an index of the deltas to one commit. */
export function encodeDeltaIndex(deltas: readonly ListedDelta[]): Buffer {
  return encode('a{sv}', [[STATIC_DELTAS, encodeDeltaList(deltas)]]);
}

/** Reads an index. Throws `corrupt`. */
export function decodeDeltaIndex(data: Uint8Array, object = 'delta index'): ListedDelta[] {
  const metadata = decode('a{sv}', data, { object }) as unknown as [string, Variant][];
  const list = metadata.find(([key]) => key === STATIC_DELTAS)?.[1];
  return list ? decodeDeltaList(list, object) : [];
}

/** Which indexes are brought up to date. */
export interface UpdateDeltaIndexesOptions {
  /** Only the index of this commit. */
  to?: Checksum;
  signal?: AbortSignal;
}

/**
 * Brings delta indexes up to date: one for each commit that a delta leads to, none for others. A file whose content
 * would be the same is not written. Clients that pull a commit by its checksum find deltas only here. Retired deltas
 * are not named.
 *
 * @returns every delta that is named with the digest of its superblock, sorted by name
 */
export async function updateDeltaIndexes(repo: Repo, options: UpdateDeltaIndexesOptions = {}): Promise<ListedDelta[]> {
  const { to: only, signal } = options;
  if (only !== undefined) assertChecksum(only);
  const unlock = await lockRepo(repo, 'shared', signal);
  try {
    await announceIndexes(repo);
    const byCommit = new Map<Checksum, ListedDelta[]>();
    for (const to of only === undefined ? await listDeltaIndexes(repo) : [only]) byCommit.set(to, []);
    const all: ListedDelta[] = [];
    for (const delta of await listDeltas(repo)) {
      if ((only !== undefined && delta.to !== only) || isRetiredDelta(repo, delta)) continue;
      signal?.throwIfAborted();
      const listed = { ...delta, superblock: await superblockDigest(repo, delta) };
      all.push(listed);
      byCommit.set(delta.to, [...(byCommit.get(delta.to) ?? []), listed]);
    }
    for (const [to, deltas] of byCommit) await writeIndex(repo, to, deltas);
    return all;
  } finally {
    unlock();
  }
}

/** @internal Makes the index of a commit list these deltas and no others; there is none of none. */
export async function writeIndex(repo: Repo, to: Checksum, deltas: readonly ListedDelta[]): Promise<void> {
  const path = join(repo.path, deltaIndexPath(to));
  if (deltas.length === 0) {
    await rm(path, { force: true });
    return;
  }
  const data = encodeDeltaIndex(deltas);
  if (existsSync(path) && data.equals(await readFile(path))) return;
  await mkdir(dirname(path), { recursive: true });
  await writeFileDurably(path, data);
}

/** @internal Who pulls from this repository by its path learns from its config that there are indexes. */
export async function announceIndexes(repo: Repo): Promise<void> {
  const core = repo.config.get('core');
  if (core?.get('indexed-deltas') === 'true') return;
  const config = new Map(repo.config);
  config.set('core', new Map(core).set('indexed-deltas', 'true'));
  await writeConfig(repo, config);
}
