import { readPart } from './apply-part.ts';
import { letterOf, OPERATION_LETTERS, type OperationLetter, readOperations } from './operations.ts';
import type { DeltaPart } from './superblock.ts';

/** What is in a part. */
export interface PartStatistics {
  modes: number;
  xattrs: number;
  blobBytes: number;
  operationBytes: number;
  /** How many of each operation. */
  operations: Record<OperationLetter, number>;
}

/** A part as a worker gets it. */
export interface PartToCount {
  part: string | Uint8Array;
  header: Pick<DeltaPart, 'checksum' | 'objects'>;
  object: string;
}

/** Unpacks a part and counts. Throws `corrupt`. */
export function countPart({ part, header, object }: PartToCount): PartStatistics {
  const payload = readPart({ part, header, verify: true, object });
  const limits = {
    objects: header.objects,
    blobLength: payload.blob.length,
    modes: payload.modes.length,
    xattrs: payload.xattrs.length,
    object,
  };
  const operations = Object.fromEntries(OPERATION_LETTERS.map((letter) => [letter, 0])) as PartStatistics['operations'];
  for (const operation of readOperations(payload.operations, limits)) operations[letterOf(operation)]++;
  return {
    modes: payload.modes.length,
    xattrs: payload.xattrs.length,
    blobBytes: payload.blob.length,
    operationBytes: payload.operations.length,
    operations,
  };
}
