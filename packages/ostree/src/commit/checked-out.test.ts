import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { checkout } from '../checkout/checkout.ts';
import { attributes, type Change, diffTrees, type Node } from '../diff/diff.ts';
import type { FileHeader } from '../formats/file.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import type { Xattr } from '../fs/syscalls.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { type Transaction, type TransactionStats, withTransaction } from '../repo/transaction.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { writeFolder } from './folder.ts';
import { indexCheckout } from './index-checkout.ts';

/** cap_net_admin and cap_net_raw, effective, as revision 2 of `struct vfs_cap_data`. */
const capability: Xattr = [
  Buffer.from('security.capability'),
  Buffer.from('0100000200300000000000000000000000000000', 'hex'),
];

/** A tree as no ordinary user can make one: owners, a set-user-id bit, a capability, a file that nobody may read. */
async function baseTree(tx: Transaction): Promise<Tree> {
  const file = async (mode: number, text: string, more: Partial<FileHeader> = {}): Promise<Checksum> => {
    const header = { uid: 0, gid: 0, mode: 0o100000 | mode, symlinkTarget: '', xattrs: [], ...more };
    return (await tx.writeFile(header, Buffer.from(text))).checksum;
  };
  const link = async (target: string) =>
    (await tx.writeFile({ uid: 9, gid: 9, mode: 0o120777, symlinkTarget: target, xattrs: [] }, new Uint8Array(0)))
      .checksum;
  const meta = (uid: number, mode: number, xattrs: Xattr[] = []) =>
    tx.writeDirMeta({ uid, gid: uid, mode: 0o040000 | mode, xattrs });
  const bin = tx.writeDirTree({
    files: new Map([
      ['su', await file(0o4755, 'su')],
      ['ping', await file(0o755, 'ping', { xattrs: [capability] })],
      ['same', await file(0o755, 'same', { uid: 3, gid: 4 })],
      ['link', await link('su')],
      ['gone', await file(0o644, 'gone')],
    ]),
    dirs: new Map(),
  });
  const etc = tx.writeDirTree({
    files: new Map([
      ['shadow', await file(0o000, 'secret', { gid: 42 })],
      ['conf', await file(0o640, 'a=1\n', { uid: 27, gid: 28 })],
    ]),
    dirs: new Map(),
  });
  const contents = tx.writeDirTree({
    files: new Map(),
    dirs: new Map([
      ['bin', { contents: bin, meta: meta(0, 0o755) }],
      ['etc', { contents: etc, meta: meta(27, 0o2750, [[Buffer.from('user.note'), Buffer.from('kept')]]) }],
    ]),
  });
  return { contents, meta: meta(0, 0o755) };
}

interface Sample {
  repo: Repo;
  tree: Tree;
  folder: string;
  index: string;
  /** Stores the folder as it is now. */
  store(owner?: { uid: number; gid: number }): Promise<{ tree: Tree; changes: Change[]; stats: TransactionStats }>;
}

async function sample(t: TestContext): Promise<Sample> {
  const base = scratchFolder(t);
  const [folder, index] = [join(base, 'out'), join(base, 'index')];
  const repo = await createRepo(join(base, 'repo'));
  const tree = await withTransaction(repo, baseTree);
  await checkout(repo, tree, folder, { userMode: true });
  await indexCheckout(repo, tree, folder, index);
  return {
    repo,
    tree,
    folder,
    index,
    async store(owner) {
      const checkedOut = { tree, ...(owner ? { owner } : {}) };
      const stored = await withTransaction(repo, async (tx) => ({
        tree: await writeFolder(tx, folder, { indexFile: index, base: tree, checkedOut }),
        stats: tx.stats,
      }));
      return { ...stored, changes: await diffTrees(repo, tree, stored.tree) };
    },
  };
}

function described({ kind, path, differs, after }: Change): string {
  return [kind, path, differs.join('+'), after ? headerOf(after) : ''].join(' ').trimEnd();
}

function headerOf(node: Node): string {
  const { uid, gid, mode, xattrs } = attributes(node);
  return `${(mode & 0o7777).toString(8)} ${uid}:${gid}${xattrs.map(([name]) => ` ${Buffer.from(name)}`).join('')}`;
}

test('a folder that was not touched is the tree that it was checked out from, and no file of it is read', async (t) => {
  const { tree, folder, index, store } = await sample(t);
  const { stats, ...same } = await store();
  assert.deepEqual(same, { tree, changes: [] });
  assert.deepEqual([stats.contentKnown, stats.contentTotal], [7, 7]);
  rmSync(index);
  utimesSync(join(folder, 'bin/su'), 1, 1);
  const again = await store();
  assert.deepEqual([again.tree, again.stats.contentKnown], [tree, 0], 'it is the same without the index');
});

test('files that were changed keep owner, attributes and bits that a user cannot have', async (t) => {
  const { folder, store } = await sample(t);
  for (const name of ['bin/su', 'bin/ping', 'etc/conf']) appendFileSync(join(folder, name), 'new');
  chmodSync(join(folder, 'etc/shadow'), 0o600);
  // As an editor does it: a new file in its place.
  writeFileSync(join(folder, 'bin/same.new'), 'changed', { mode: 0o755 });
  renameSync(join(folder, 'bin/same.new'), join(folder, 'bin/same'));
  rmSync(join(folder, 'bin/link'));
  symlinkSync('ping', join(folder, 'bin/link'));
  const { changes, stats } = await store();
  assert.deepEqual(changes.map(described), [
    'modified /bin/link target 777 9:9',
    'modified /bin/ping content 755 0:0 security.capability',
    'modified /bin/same content 755 3:4',
    'modified /bin/su content 4755 0:0',
    'modified /etc/conf content 640 27:28',
    'modified /etc/shadow mode 600 0:42',
  ]);
  assert.equal(stats.contentKnown, 1, 'one file was not touched');
});

test('permissions that were changed are those on disk, and a set-user-id bit stays', async (t) => {
  const { folder, store } = await sample(t);
  chmodSync(join(folder, 'bin/su'), 0o750);
  chmodSync(join(folder, 'bin/same'), 0o700);
  chmodSync(join(folder, 'etc'), 0o755);
  const { changes } = await store();
  assert.deepEqual(changes.map(described), [
    'modified /bin/same mode 700 3:4',
    'modified /bin/su mode 4750 0:0',
    'modified /etc mode 755 27:27 user.note',
  ]);
});

test('what is new is root’s, or whose it is said to be; what is gone is gone', async (t) => {
  const { folder, store } = await sample(t);
  mkdirSync(join(folder, 'opt/app'), { recursive: true, mode: 0o755 });
  writeFileSync(join(folder, 'opt/app/run'), 'run');
  chmodSync(join(folder, 'opt/app/run'), 0o755);
  if (existsSync('/usr/bin/setfattr'))
    execFileSync('setfattr', ['-n', 'user.mine', '-v', 'x', join(folder, 'opt/app/run')]);
  rmSync(join(folder, 'bin/gone'));
  rmSync(join(folder, 'etc/conf'));
  symlinkSync('shadow', join(folder, 'etc/conf'));
  const mine = existsSync('/usr/bin/setfattr') ? ' user.mine' : '';
  assert.deepEqual((await store()).changes.map(described), [
    'removed /bin/gone',
    'modified /etc/conf type 777 27:28',
    'added /opt  755 0:0',
    'added /opt/app  755 0:0',
    `added /opt/app/run  755 0:0${mine}`,
  ]);
  const owned = (await store({ uid: 5, gid: 6 })).changes.map(described);
  assert.equal(owned.length, 5);
});

test('a capability that was set inside of a user namespace is stored as one of root', {
  skip: process.getuid?.() !== 0 && 'setting one needs root',
}, async (t) => {
  const { folder, store } = await sample(t);
  const path = join(folder, 'bin/tool');
  writeFileSync(path, 'tool', { mode: 0o755 });
  const third = '0x010000030030000000000000000000000000000039300000';
  execFileSync('setfattr', ['-n', 'security.capability', '-v', third, path]);
  const { changes } = await store();
  const [added] = changes;
  assert.ok(added?.after && added.after.type === 'file');
  const [name, value] = added.after.header.xattrs[0]!;
  assert.deepEqual([Buffer.from(name), Buffer.from(value)], capability);
});
