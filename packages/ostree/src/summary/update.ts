import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeCommit, metadataValue, swap } from '../formats/commit.ts';
import { encodeSummary, type SummaryRef } from '../formats/summary.ts';
import { writeFileDurably } from '../fs/durable.ts';
import type { Variant } from '../gvariant/encode.ts';
import { readMetadata } from '../repo/objects.ts';
import { listRefs } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';

export interface UpdateSummaryOptions {
  /** Further metadata; keys of one's own should have a prefix. */
  metadata?: readonly (readonly [string, Variant])[];
  /** Milliseconds since 1970; default now. */
  now?: number;
}

/**
 * Writes the repository's summary from its refs (not those of remotes) and removes the signature of the one
 * before, which would no longer fit. The file is replaced as a whole.
 */
export async function updateSummary(repo: Repo, options: UpdateSummaryOptions = {}): Promise<void> {
  const refs = new Map<string, SummaryRef>();
  for (const [name, commit] of await listRefs(repo)) {
    if (name.includes(':')) continue;
    const data = await readMetadata(repo, 'commit', commit);
    const { timestamp, metadata } = decodeCommit(data, `${commit}.commit`);
    const version = metadataValue(metadata, 'version');
    refs.set(name, {
      commit,
      size: data.length,
      timestamp,
      version: version?.type === 's' ? (version.value as string) : null,
    });
  }
  const seconds = BigInt(Math.floor((options.now ?? Date.now()) / 1000));
  const summary = encodeSummary({
    refs,
    metadata: [
      ['ostree.summary.mode', { type: 's', value: repo.mode === 'archive' ? 'archive-z2' : repo.mode }],
      ['ostree.summary.last-modified', { type: 't', value: swap(seconds) }],
      ['ostree.summary.tombstone-commits', { type: 'b', value: false }],
      ['ostree.summary.indexed-deltas', { type: 'b', value: true }],
      ...(options.metadata ?? []),
    ],
  });
  // First: for a moment without signature is refused by clients that want one, and tried again. A new summary
  // beside an old signature looks like an attack.
  await rm(join(repo.path, 'summary.sig'), { force: true });
  await writeFileDurably(join(repo.path, 'summary'), summary);
}
