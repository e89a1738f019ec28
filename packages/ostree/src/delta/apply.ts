import { OstreeError } from '../errors.ts';
import { decodeCommit } from '../formats/commit.ts';
import type { Checksum, ObjectType, Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import { treeReader } from '../repo/tree-reader.ts';
import { deltaName } from './names.ts';
import type { Superblock } from './superblock.ts';

/** How a delta is applied. */
export interface ApplyDeltaOptions {
  signal?: AbortSignal;
  /** Called after each part. */
  onProgress?: (progress: { parts: number; totalParts: number }) => void;
}

/** Parts that are worked on at once: each takes memory for what it unpacks to. */
const PARTS_AT_ONCE = 2;

/**
 * Makes the objects of a delta in a transaction: those of each part, then the commit and its detached metadata. Works
 * for repositories of every mode; memory is bounded by the size of parts. A part whose objects are all there is not
 * asked for. Signatures are the caller's business, and so are `superblock.fallbacks`: fetch them before.
 *
 * @param parts gives a received part file, as a path or as bytes; its checksum is verified here. Not called for parts
 *   that the superblock holds.
 * @throws OstreeError `not-found` when the repository lacks the source commit, `corrupt`, `unsupported`
 */
export async function applyDelta(
  tx: Transaction,
  superblock: Superblock,
  parts: (index: number) => Promise<string | Uint8Array>,
  options: ApplyDeltaOptions = {},
): Promise<{ commit: Checksum }> {
  const { from, to } = superblock;
  const signal = options.signal ?? tx.signal;
  const name = deltaName(from, to);
  if (from !== null && !tx.has('commit', from)) {
    throw new OstreeError('not-found', `Commit ${from}, which is the delta source, is not in repository`, {
      hint: `Pull ${from.slice(0, 12)} first, or use a delta from a commit that is there.`,
    });
  }
  for (const { type, checksum } of superblock.fallbacks) {
    if (!tx.has(type, checksum)) {
      throw new OstreeError('not-found', `delta ${name} needs ${checksum}.${type}, which it does not contain`);
    }
  }
  let next = 0;
  let done = 0;
  const work = async () => {
    while (next < superblock.parts.length) {
      signal?.throwIfAborted();
      const index = next++;
      const { inline, ...header } = superblock.parts[index]!;
      if (!header.objects.every(({ type, checksum }) => tx.has(type, checksum))) {
        const part = inline ?? (await parts(index));
        const object = `delta ${name} part ${index}`;
        await tx.applyDeltaPart({ part, header, verify: true, temporary: tx.temporaryPath(), object });
      }
      options.onProgress?.({ parts: ++done, totalParts: superblock.parts.length });
    }
  };
  await Promise.all(Array.from({ length: PARTS_AT_ONCE }, work));
  assertWhole(tx, decodeCommit(superblock.commit, `${to}.commit`).tree, name);
  if (superblock.commitMetadata && !tx.has('commit', to)) tx.writeDetachedMetadata(to, superblock.commitMetadata);
  tx.importMetadata('commit', to, superblock.commit);
  return { commit: to };
}

/** A commit that is there is taken to be whole by everybody, so a delta that leaves something out is refused. */
function assertWhole(tx: Transaction, tree: Tree, name: string): void {
  const reader = treeReader(tx);
  const seen = new Set<Checksum>();
  const queue = [tree];
  const assertThere = (type: ObjectType, checksum: Checksum) => {
    if (seen.has(checksum)) return false;
    seen.add(checksum);
    if (tx.has(type, checksum)) return true;
    throw new OstreeError('corrupt', `delta ${name} leaves out ${checksum}.${type}`, { object: `${checksum}.${type}` });
  };
  for (let at = queue.pop(); at; at = queue.pop()) {
    assertThere('dirmeta', at.meta);
    if (!assertThere('dirtree', at.contents)) continue;
    const { files, dirs } = reader.dirTree(at.contents);
    for (const checksum of files.values()) assertThere('file', checksum);
    queue.push(...dirs.values());
  }
}
