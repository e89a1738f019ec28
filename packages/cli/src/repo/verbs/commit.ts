import { readFileSync } from 'node:fs';
import { bootableMetadata } from '@treeline/ostree/commit/bootable.ts';
import { commitSizes } from '@treeline/ostree/commit/commit-sizes.ts';
import { writeCommit } from '@treeline/ostree/commit/write-commit.ts';
import { OstreeError } from '@treeline/ostree/errors.ts';
import type { Metadata } from '@treeline/ostree/formats/commit.ts';
import type { Checksum, Tree } from '@treeline/ostree/formats/object-name.ts';
import { readCommit } from '@treeline/ostree/repo/objects.ts';
import { tryResolveRev } from '@treeline/ostree/repo/refs.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { type Transaction, type TransactionStats, withTransaction } from '@treeline/ostree/repo/transaction.ts';
import { messageOf, timestampOf } from '../commit/message.ts';
import { detachedMetadataOf, metadataOf } from '../commit/metadata.ts';
import { commitOptions } from '../commit/options.ts';
import { sourceOptions, treeOf } from '../commit/sources.ts';
import { failIfTested } from '../commit/test-error.ts';
import { type Parsed, UsageError } from '../options.ts';
import { signersOf } from '../signing-options.ts';
import { boolean, commitOf, openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const commit: RepoVerb = {
  usage: '[PATH]',
  options: commitOptions,
  async run(parsed, signal) {
    const branch = parsed.text('branch');
    if (branch === undefined && !parsed.flag('orphan')) {
      throw new UsageError('A branch must be specified with --branch, or use --orphan');
    }
    if (parsed.flag('generate-composefs-metadata')) {
      throw new OstreeError('unsupported', 'composefs metadata cannot be generated');
    }
    const opened = await openNamedRepo(parsed);
    const noFsync = parsed.flag('disable-fsync') || boolean(parsed.text('fsync'), 'fsync') === false;
    const repo: Repo = noFsync ? { ...opened, fsync: false } : opened;
    const sources = await sourceOptions(parsed);
    const parent = await parentOf(repo, parsed, branch);
    const metadata = await metadataOf(repo, parsed, branch, parent);
    const [message, timestamp, signers] = [await messageOf(parsed), timestampOf(parsed), await signersOf(parsed)];
    const work = async (tx: Transaction): Promise<Checksum> => {
      const tree = await treeOf(tx, parsed, sources);
      if (parsed.flag('skip-if-unchanged') && parent && (await isTreeOf(repo, parent, tree))) return parent;
      const all = withSizes(
        tx,
        tree,
        parsed,
        parsed.flag('bootable') ? bootableMetadata(tx, tree, metadata) : metadata,
      );
      const made = await writeCommit(tx, {
        ...message,
        tree,
        parent,
        metadata: all,
        ...(timestamp === undefined ? {} : { timestamp }),
      });
      const detached = detachedMetadataOf(parsed);
      if (detached || signers.length > 0) {
        const bytes = readFileSync(tx.locate('commit', made)!);
        const { addSignatures } = await import('@treeline/ostree/sign/sign.ts');
        tx.writeDetachedMetadata(made, await addSignatures(bytes, detached ?? [], signers, { signal }));
      }
      if (branch !== undefined) tx.setRef(branch, made);
      failIfTested(repo);
      return made;
    };
    let stats: TransactionStats | undefined;
    const made = await withTransaction(
      repo,
      (tx) => {
        stats = tx.stats;
        return work(tx);
      },
      { signal },
    );
    sources.consumed?.remove();
    if (parsed.flag('table-output')) printTable(made, stats!);
    else say(made);
  },
};

async function parentOf(repo: Repo, parsed: Parsed, branch: string | undefined): Promise<Checksum | null> {
  const named = parsed.text('parent');
  if (named === 'none') return null;
  if (named !== undefined) return commitOf(repo, named);
  return branch === undefined || parsed.flag('orphan') ? null : tryResolveRev(repo, branch);
}

async function isTreeOf(repo: Repo, commit: Checksum, { contents, meta }: Tree): Promise<boolean> {
  const { tree } = await readCommit(repo, commit);
  return tree.contents === contents && tree.meta === meta;
}

function withSizes(tx: Transaction, tree: Tree, parsed: Parsed, metadata: Metadata): Metadata {
  const sizes = parsed.flag('generate-sizes') ? commitSizes(tx, tree) : null;
  return sizes ? [...metadata, ['ostree.sizes', sizes]] : metadata;
}

function printTable(checksum: string, stats: TransactionStats): void {
  say(`Commit: ${checksum}`);
  say(`Metadata Total: ${stats.metadataTotal}`);
  say(`Metadata Written: ${stats.metadataWritten}`);
  say(`Content Total: ${stats.contentTotal}`);
  say(`Content Written: ${stats.contentWritten}`);
  say(`Content Cache Hits: ${stats.contentKnown}`);
  say(`Content Bytes Written: ${stats.contentBytesWritten}`);
}
