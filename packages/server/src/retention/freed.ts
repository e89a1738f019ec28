import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type DeltaName, deltaFolder, type PruneReport, type Repo } from '@treeline/ostree';

/** What went, or would go. */
export interface Freed {
  objects: number;
  /** Bytes of their files. */
  bytes: number;
  /** Of these, bytes that other names of the files keep: in the store, in another repository. */
  linked: number;
  deltas: number;
  deltaBytes: number;
}

export const NOTHING: Freed = { objects: 0, bytes: 0, linked: 0, deltas: 0, deltaBytes: 0 };

export function freedBy(
  { deleted, bytesFreed, bytesLinked }: Pick<PruneReport, 'deleted' | 'bytesFreed' | 'bytesLinked'>,
  deltas: Pick<Freed, 'deltas' | 'deltaBytes'>,
): Freed {
  return { objects: deleted, bytes: bytesFreed, linked: bytesLinked, ...deltas };
}

/** What is freed by the one and not by the other, which is a part of it. */
export function beyond(all: Freed, part: Freed): Freed {
  return {
    objects: all.objects - part.objects,
    bytes: all.bytes - part.bytes,
    linked: all.linked - part.linked,
    deltas: all.deltas - part.deltas,
    deltaBytes: all.deltaBytes - part.deltaBytes,
  };
}

/** How many deltas these are, and the bytes of their files. */
export async function sizeOfDeltas(
  repo: Repo,
  deltas: readonly DeltaName[],
): Promise<Pick<Freed, 'deltas' | 'deltaBytes'>> {
  let deltaBytes = 0;
  for (const { from, to } of deltas) {
    const folder = join(repo.path, deltaFolder(from, to));
    for (const name of await readdir(folder).catch(() => [])) {
      deltaBytes += await stat(join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      );
    }
  }
  return { deltas: deltas.length, deltaBytes };
}
