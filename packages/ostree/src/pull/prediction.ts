import { type Commit, metadataValue } from '../formats/commit.ts';
import type { Checksum } from '../formats/object-name.ts';
import { decodeSizes } from '../formats/sizes.ts';
import { hasObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import type { FoundDelta } from './find-delta.ts';

/** Objects that a commit needs and a repository lacks, as the commit's `ostree.sizes` has them. */
export interface LackingObjects {
  objects: number;
  /** Bytes as an archive repository serves them, and unpacked. */
  archived: number;
  unpacked: number;
}

/** What a pull would fetch. */
export interface PullPrediction {
  /** Of the static deltas that would be used. */
  deltas: {
    /** Parts and objects beside them, and how many of these are here already. */
    parts: number;
    partsHere: number;
    bytes: number;
    bytesHere: number;
    unpacked: number;
  };
  /** Of commits for which there is no delta. */
  objects: LackingObjects;
}

/** What is lacking of a commit that says the sizes of its objects, or null. A list that is malformed says nothing. */
export function lackingObjects(repo: Repo, commit: Commit): LackingObjects | null {
  const sizes = metadataValue(commit.metadata, 'ostree.sizes');
  if (sizes?.type !== 'aay') return null;
  const found: LackingObjects = { objects: 0, archived: 0, unpacked: 0 };
  try {
    for (const { type, checksum, archived, unpacked } of decodeSizes(sizes.value)) {
      if (hasObject(repo, type, checksum)) continue;
      found.objects++;
      found.archived += archived;
      found.unpacked += unpacked;
    }
  } catch {
    return null;
  }
  return found;
}

/** Counts as `ostree pull --dry-run` does, and adds what is to be fetched object by object. */
export function predict(deltas: Iterable<FoundDelta>, objects: LackingObjects): PullPrediction {
  const prediction: PullPrediction = {
    deltas: { parts: 0, partsHere: 0, bytes: 0, bytesHere: 0, unpacked: 0 },
    objects,
  };
  for (const { superblock, missingParts, missingFallbacks } of deltas) {
    const missing = new Set<number | Checksum>([...missingParts, ...missingFallbacks]);
    const items = [...superblock.parts.entries()].map(([index, part]) => ({ ...part, isMissing: missing.has(index) }));
    const beside = superblock.fallbacks.map((part) => ({ ...part, isMissing: missing.has(part.checksum) }));
    for (const { size, unpackedSize, isMissing } of [...items, ...beside]) {
      prediction.deltas.parts++;
      prediction.deltas.bytes += size;
      prediction.deltas.unpacked += unpackedSize;
      if (isMissing) continue;
      prediction.deltas.partsHere++;
      prediction.deltas.bytesHere += size;
    }
  }
  return prediction;
}
