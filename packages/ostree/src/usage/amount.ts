/** What objects take. */
export interface Amount {
  objects: number;
  /** Length of their files, as they are stored: compressed in an archive repository. */
  bytes: number;
  /** What the file system has set aside for them: whole blocks, as `du` counts. */
  allocated: number;
  /** Of `bytes`, what is in files that have other names, too (hard links): to delete them here alone frees nothing. */
  linked: number;
}

/** What static deltas take. */
export interface DeltaAmount {
  deltas: number;
  bytes: number;
  allocated: number;
}

export function noAmount(): Amount {
  return { objects: 0, bytes: 0, allocated: 0, linked: 0 };
}

export function noDeltas(): DeltaAmount {
  return { deltas: 0, bytes: 0, allocated: 0 };
}

/** What is left of an amount without a part of it. */
export function without(whole: Amount, part: Amount): Amount {
  return {
    objects: whole.objects - part.objects,
    bytes: whole.bytes - part.bytes,
    allocated: whole.allocated - part.allocated,
    linked: whole.linked - part.linked,
  };
}

/** Files are in blocks of this many bytes for stat(2), whatever those of the file system are. */
export const BLOCK_BYTES = 512;
