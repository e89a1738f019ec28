import { hash } from 'node:crypto';
import { deltaIndexPath, deltaName, deltaSuperblockPath } from '../delta/names.ts';
import { decodeSuperblock, type Superblock } from '../delta/superblock.ts';
import { OstreeError } from '../errors.ts';
import { type Checksum, compareNames } from '../formats/object-name.ts';
import { hasObject, MAX_METADATA_BYTES, readCommit } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { isComplete } from './known-trees.ts';
import type { Remote } from './remote.ts';
import { indexedDeltas, type RemoteSummary } from './remote-summary.ts';

/** A static delta that leads to a commit that is wanted, and what of it is needed. */
export interface FoundDelta {
  readonly superblock: Superblock;
  /** Bytes of the superblock as it came. */
  readonly superblockSize: number;
  /** Numbers of the parts of which something is not here yet. */
  readonly missingParts: readonly number[];
  /** Objects beside it that are not here yet. */
  readonly missingFallbacks: readonly Checksum[];
  /** Bytes that are still to be received: of parts that are files, and of objects beside them. */
  readonly download: number;
  /** Bytes of content that it makes. */
  readonly unpacked: number;
}

export interface FindDeltaOptions {
  summary: RemoteSummary | null;
  /** The ref that is to name the commit, and what it names here now. */
  ref: { name: string; current: Checksum | null } | null;
  /** There must be one. */
  required: boolean;
  /** Bytes received are counted here. */
  count: (bytes: number) => void;
}

/** How many superblocks are looked at before objects are taken instead. */
const MAX_CANDIDATES = 3;

/**
 * Looks for a delta to a commit from one that is here, or from scratch: in the remote's delta index, or else in its
 * summary, or where there is neither, at the place where one from the ref's present commit would be. As libostree,
 * takes the newest commit that there is a delta from, and one from scratch only where the ref is new.
 *
 * @returns null when there is none, or objects are the better choice
 * @throws OstreeError `not-found` when one is required and there is none; `corrupt` for one that is not what the
 *   summary promises
 */
export async function findDelta(
  repo: Repo,
  remote: Remote,
  to: Checksum,
  options: FindDeltaOptions,
): Promise<FoundDelta | null> {
  const { ref, required } = options;
  const listed = await listRemoteDeltas(remote, to, options);
  const candidates = listed ? await fromListed(repo, listed, options) : guess(repo, to, options);
  for (const from of candidates.slice(0, MAX_CANDIDATES)) {
    const path = deltaSuperblockPath(from, to);
    const data = await remote.file(path, MAX_METADATA_BYTES);
    if (!data) continue;
    options.count(data.length);
    const digest = listed?.get(from);
    const name = deltaName(from, to);
    if (digest !== undefined && hash('sha256', data) !== digest) {
      throw new OstreeError('corrupt', `Invalid checksum for static delta ${name}`, { object: path });
    }
    const superblock = decodeSuperblock(data, { object: `delta ${name}` });
    if (superblock.from !== from || superblock.to !== to) {
      throw new OstreeError(
        'corrupt',
        `${remote.where}${path}: is the delta ${deltaName(superblock.from, superblock.to)}`,
      );
    }
    return measure(repo, superblock, data.length);
  }
  if (!required) return null;
  throw new OstreeError('not-found', `Static deltas required, but none found for ${ref?.name ?? ''} to ${to}`, {
    hint: 'Pull without --require-static-deltas.',
  });
}

/** The deltas to a commit that a remote lists, with the hashes of their superblocks; null where it lists none at all. */
export async function listRemoteDeltas(
  remote: Remote,
  to: Checksum,
  { summary, count }: Pick<FindDeltaOptions, 'summary' | 'count'>,
): Promise<Map<Checksum | null, Checksum> | null> {
  if (remote.indexedDeltas || summary?.indexedDeltas) {
    const path = deltaIndexPath(to);
    const index = await remote.file(path, MAX_METADATA_BYTES);
    if (index) {
      count(index.length);
      return indexedDeltas(index, to, path);
    }
    return summary?.deltasTo(to) ?? new Map();
  }
  return summary?.hasDeltas ? summary.deltasTo(to) : null;
}

async function fromListed(
  repo: Repo,
  listed: Map<Checksum | null, Checksum>,
  { ref, required }: FindDeltaOptions,
): Promise<(Checksum | null)[]> {
  const found: { from: Checksum; timestamp: number }[] = [];
  for (const from of listed.keys()) {
    if (from === null || !hasObject(repo, 'commit', from) || !isComplete(repo, from)) continue;
    found.push({ from, timestamp: (await readCommit(repo, from)).timestamp });
  }
  found.sort((a, b) => b.timestamp - a.timestamp || compareNames(a.from, b.from));
  const scratch = listed.has(null) && (required || !ref?.current);
  return [...found.map(({ from }) => from), ...(scratch ? [null] : [])];
}

function guess(repo: Repo, to: Checksum, { ref }: FindDeltaOptions): (Checksum | null)[] {
  const current = ref?.current ?? null;
  if (current === null) return [null];
  return current !== to && isComplete(repo, current) ? [current] : [];
}

/** What a repository needs of a delta. */
function measure(repo: Repo, superblock: Superblock, superblockSize: number): FoundDelta {
  const lacks = ({ type, checksum }: { type: 'file' | 'dirtree' | 'dirmeta' | 'commit'; checksum: Checksum }) =>
    !hasObject(repo, type, checksum);
  const missingParts = superblock.parts.flatMap(({ objects }, index) => (objects.some(lacks) ? [index] : []));
  const fallbacks = superblock.fallbacks.filter(lacks);
  const metadata = fallbacks.find(({ type }) => type !== 'file');
  if (metadata) {
    throw new OstreeError('corrupt', `Found metadata object as fallback: ${metadata.checksum}.${metadata.type}`);
  }
  const parts = missingParts.map((index) => superblock.parts[index]!);
  const sum = (list: readonly { size: number }[]) => list.reduce((total, { size }) => total + size, 0);
  return {
    superblock,
    superblockSize,
    missingParts,
    missingFallbacks: fallbacks.map(({ checksum }) => checksum),
    download: sum(parts.filter(({ inline }) => !inline)) + sum(fallbacks),
    unpacked: [...parts, ...fallbacks].reduce((total, { unpackedSize }) => total + unpackedSize, 0),
  };
}
