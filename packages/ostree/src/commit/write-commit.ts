import type { Metadata } from '../formats/commit.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';

/** What a commit says. Its time is now unless it is given. */
export interface NewCommit {
  tree: Tree;
  subject?: string;
  body?: string;
  parent?: Checksum | null;
  /** Seconds since 1970. Default now. */
  timestamp?: number;
  metadata?: Metadata;
}

/** Writes a commit of a tree that is stored or staged. The order of metadata is kept: it is part of the checksum. */
export async function writeCommit(tx: Transaction, commit: NewCommit): Promise<Checksum> {
  return tx.writeCommitObject({
    metadata: commit.metadata ?? [],
    parent: commit.parent ?? null,
    subject: commit.subject ?? '',
    body: commit.body ?? '',
    timestamp: commit.timestamp ?? Math.floor(Date.now() / 1000),
    tree: commit.tree,
  });
}
