import { OstreeError } from '../errors.ts';
import type { Metadata } from '../formats/commit.ts';
import type { Tree } from '../formats/object-name.ts';
import type { Variant } from '../gvariant/encode.ts';
import type { Transaction } from '../repo/transaction.ts';
import { lookUp, treeReader } from '../repo/tree-reader.ts';
import { hashTableOrder } from './hash-order.ts';

const MODULES = 'usr/lib/modules';

/**
 * Metadata of a commit of a bootable tree: `ostree.bootable`, and the kernel's release as `ostree.linux`, found as the
 * one folder of `/usr/lib/modules` that has a `vmlinuz` (`ostree_commit_metadata_for_bootable`). The result is in the
 * order in which libostree would store it.
 *
 * @throws OstreeError `not-found` for a tree without a kernel, `invalid` for several
 */
export function bootableMetadata(tx: Transaction, tree: Tree, metadata: Metadata): Metadata {
  const reader = treeReader(tx);
  const modules = lookUp(reader, tree, MODULES);
  if (modules?.kind !== 'dir') {
    throw new OstreeError('not-found', `Opening ${MODULES}: No such file or directory: /${MODULES}`);
  }
  const releases = [...reader.dirTree(modules.tree.contents).dirs]
    .filter(([, { contents }]) => {
      const { files, dirs } = reader.dirTree(contents);
      return files.has('vmlinuz') || dirs.has('vmlinuz');
    })
    .map(([release]) => release);
  if (releases.length > 1) throw new OstreeError('invalid', `Multiple kernels found in /${MODULES}`);
  if (releases.length === 0) throw new OstreeError('not-found', `No kernel found in /${MODULES}`);
  // A dictionary, as opposed to a list, has each key once, and the last wins.
  const values = new Map<string, Variant>(metadata);
  values.set('ostree.bootable', { type: 'b', value: true });
  values.set('ostree.linux', { type: 's', value: releases[0]! });
  return hashTableOrder(values.keys()).map((key) => [key, values.get(key)!]);
}
