import { writeCommit } from '../commit/write-commit.ts';
import type { Metadata } from '../formats/commit.ts';
import type { Checksum } from '../formats/object-name.ts';
import type { Variant } from '../gvariant/encode.ts';
import { readRef } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';

/** The ref of a collection whose commits say about it what a summary does (`OSTREE_REPO_METADATA_REF`). */
export const METADATA_REF = 'ostree-metadata';

/** Writes the next commit of `ostree-metadata`: no files, and the metadata that summary has too, bound to the ref. */
export async function writeMetadataCommit(
  repo: Repo,
  collection: string,
  metadata: Metadata,
  options: { signal?: AbortSignal | undefined; now: number },
): Promise<Checksum> {
  const parent = await readRef(repo, METADATA_REF);
  const bindings: [string, Variant][] = [
    ['ostree.collection-binding', { type: 's', value: collection }],
    ['ostree.ref-binding', { type: 'as', value: [METADATA_REF] }],
  ];
  const write = async (tx: Parameters<typeof writeCommit>[0]) => {
    const timestamp = Math.floor(options.now / 1000);
    const commit = await writeCommit(tx, {
      tree: tx.emptyTree(),
      parent,
      timestamp,
      metadata: [...metadata.filter(([key]) => !bindings.some(([bound]) => bound === key)), ...bindings],
    });
    tx.setRef(METADATA_REF, commit);
    return commit;
  };
  // A summary by itself would wait for the one that is being made.
  return withTransaction(repo, write, { autoSummary: false, ...(options.signal && { signal: options.signal }) });
}
