import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DeltaName, deltaFolder, deltaName } from '../delta/names.ts';
import { retireDelta, superblockDigest } from '../delta/stored.ts';
import { decodeSuperblock } from '../delta/superblock.ts';
import { OstreeError } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { listRemoteDeltas } from '../pull/find-delta.ts';
import { inParallel } from '../pull/in-parallel.ts';
import type { ProgressMeter } from '../pull/progress.ts';
import type { Remote } from '../pull/remote.ts';
import type { RemoteSummary } from '../pull/remote-summary.ts';
import { MAX_METADATA_BYTES } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';

const AT_ONCE = 4;
/** More than libostree's own parts have, which are of 32 MB before they are compressed. */
const MAX_PART_BYTES = 1024 * 1024 * 1024;

/** A delta that a remote has, by its name; the hash of its superblock, if it is told. */
export type RemoteDeltas = Map<string, DeltaName & { digest: Checksum }>;

/** The deltas to these commits that a remote lists. */
export async function remoteDeltas(
  remote: Remote,
  commits: Iterable<Checksum>,
  o: { summary: RemoteSummary | null; meter: ProgressMeter },
): Promise<RemoteDeltas> {
  const found: RemoteDeltas = new Map();
  const count = (bytes: number) => {
    o.meter.bytes += bytes;
  };
  await inParallel([...commits], AT_ONCE, async (to) => {
    const listed = await listRemoteDeltas(remote, to, { summary: o.summary, count });
    for (const [from, digest] of listed ?? []) found.set(deltaName(from, to), { from, to, digest });
  });
  return found;
}

/**
 * Fetches deltas as they are, each checked against what is said of it before it can be seen: parts first, and the
 * superblock last.
 *
 * @returns how many were not there
 * @throws OstreeError `corrupt` for one that is not what the remote's list says
 */
export async function fetchDeltas(
  repo: Repo,
  remote: Remote,
  deltas: RemoteDeltas,
  o: { meter: ProgressMeter; signal: AbortSignal | undefined },
): Promise<number> {
  let fetched = 0;
  await inParallel([...deltas.values()], AT_ONCE, async (delta) => {
    o.signal?.throwIfAborted();
    if ((await digestHere(repo, delta)) === delta.digest) return void (await unretire(repo, delta));
    if (await fetchDelta(repo, remote, delta, o.meter)) fetched++;
  });
  return fetched;
}

/** False for one that the remote lists but does not have any more. */
async function fetchDelta(
  repo: Repo,
  remote: Remote,
  { from, to, digest }: DeltaName & { digest: Checksum },
  meter: ProgressMeter,
): Promise<boolean> {
  const folder = deltaFolder(from, to);
  const data = await remote.file(`${folder}/superblock`, MAX_METADATA_BYTES);
  if (!data) return false;
  meter.bytes += data.length;
  assertDigest(data, digest, `${remote.where}${folder}/superblock`);
  const superblock = decodeSuperblock(data, { object: `delta ${deltaName(from, to)}` });
  if (superblock.from !== from || superblock.to !== to) {
    throw new OstreeError(
      'corrupt',
      `${remote.where}${folder}: is the delta ${deltaName(superblock.from, superblock.to)}`,
    );
  }
  mkdirSync(join(repo.path, folder), { recursive: true });
  for (const [index, { checksum, size, inline }] of superblock.parts.entries()) {
    if (inline) continue;
    const path = join(repo.path, folder, String(index));
    if (await isHere(path, checksum)) continue;
    const part = await remote.file(`${folder}/${index}`, Math.min(size, MAX_PART_BYTES));
    if (!part) return false;
    meter.bytes += part.length;
    assertDigest(part, checksum, `${remote.where}${folder}/${index}`);
    await writeFileDurably(path, part);
    meter.tell();
  }
  await writeFileDurably(join(repo.path, folder, 'superblock'), data);
  return true;
}

async function digestHere(repo: Repo, delta: DeltaName): Promise<Checksum | null> {
  try {
    return await superblockDigest(repo, delta);
  } catch (error) {
    if (error instanceof OstreeError && error.code === 'not-found') return null;
    throw error;
  }
}

/** It may have been on its way out. */
async function unretire(repo: Repo, delta: DeltaName): Promise<void> {
  await retireDelta(repo, delta, false);
}

async function isHere(path: string, checksum: Checksum): Promise<boolean> {
  const data = await readFile(path).catch(() => null);
  return data !== null && createHash('sha256').update(data).digest('hex') === checksum;
}

function assertDigest(data: Buffer, expected: Checksum, what: string): void {
  const actual = createHash('sha256').update(data).digest('hex');
  if (actual === expected) return;
  throw new OstreeError('corrupt', `${what}: is not what the list of deltas says: ${actual} instead of ${expected}`);
}
