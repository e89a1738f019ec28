import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, lchownSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkout } from '../checkout/checkout.ts';
import { writeFolder } from '../commit/folder.ts';
import { readOneXattr, type Xattr } from '../fs/syscalls.ts';
import { createRepo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { shiftedXattrs, xattrsInside } from './shifted-ids.ts';

const shift = { uid: 1_900_000_000, gid: 1_910_000_000 };
const asRoot = { skip: process.getuid?.() === 0 ? false : 'only root may give files away' };

/** `cap_net_raw+ep` as setcap writes it outside of any namespace: revision 2. */
const NET_RAW = '0x0100000200200000000000000000000000000000';

test('a tree that is checked out for a namespace and stored again is the same tree', asRoot, async (t) => {
  const base = scratchFolder(t);
  const folder = join(base, 'tree');
  mkdirSync(join(folder, 'etc'), { recursive: true });
  writeFileSync(join(folder, 'etc/shadow'), 'secret');
  chmodSync(join(folder, 'etc/shadow'), 0o640);
  chownSync(join(folder, 'etc/shadow'), 0, 42);
  writeFileSync(join(folder, 'passwd'), 'x');
  chmodSync(join(folder, 'passwd'), 0o4755);
  writeFileSync(join(folder, 'ping'), 'x');
  execFileSync('setfattr', ['-n', 'security.capability', '-v', NET_RAW, join(folder, 'ping')]);
  execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', join(folder, 'ping')]);
  symlinkSync('passwd', join(folder, 'link'));
  lchownSync(join(folder, 'link'), 7, 8);
  chownSync(folder, 3, 4);
  for (const mode of ['archive', 'bare'] as const) {
    const repo = await createRepo(join(base, mode), { mode });
    const tree = await withTransaction(repo, (tx) => writeFolder(tx, folder));

    const out = join(base, `out-${mode}`);
    await checkout(repo, tree, out, { idShift: shift });
    const shadow = lstatSync(join(out, 'etc/shadow'));
    assert.deepEqual([shadow.uid, shadow.gid, shadow.mode & 0o7777], [shift.uid, shift.gid + 42, 0o640]);
    assert.equal(lstatSync(join(out, 'passwd')).mode & 0o7777, 0o4755);
    assert.equal(lstatSync(join(out, 'link')).uid, shift.uid + 7);
    assert.equal(lstatSync(out).gid, shift.gid + 4);
    assert.equal(lstatSync(join(out, 'etc')).uid, shift.uid);
    // Revision 3, with the namespace's root: they count for nobody else on this machine.
    const capability = readOneXattr(join(out, 'ping'), 'security.capability')!;
    assert.deepEqual([capability.length, capability.readUInt32LE(20)], [24, shift.uid]);

    const again = await withTransaction(repo, (tx) => writeFolder(tx, out, { idShift: shift, statCache: false }));
    assert.deepEqual(again, tree);
  }
});

test('what belongs to somebody outside of the namespace is refused', asRoot, async (t) => {
  const base = scratchFolder(t);
  const folder = join(base, 'tree');
  mkdirSync(folder);
  chownSync(folder, shift.uid, shift.gid);
  writeFileSync(join(folder, 'file'), '');
  const repo = await createRepo(join(base, 'repo'));
  const store = () => withTransaction(repo, (tx) => writeFolder(tx, folder, { idShift: shift, statCache: false }));
  for (const owner of [0, shift.uid - 1, shift.uid + 65_536]) {
    chownSync(join(folder, 'file'), owner, shift.gid);
    await assert.rejects(store, { code: 'unsupported', message: /^\/file: its owner .* none of the namespace's/ });
  }
});

test('capabilities, access lists and attributes of users come back; labels of the machine stay behind', () => {
  const le32 = fc.integer({ min: 0, max: 0xffffffff });
  const id = fc.integer({ min: 0, max: 65_535 });
  const capability = fc.tuple(le32, le32, le32, le32).map(([a, b, c, d]) => {
    const value = Buffer.alloc(20);
    for (const [at, word] of [0x02000001, a, b, c, d].entries()) value.writeUInt32LE(word >>> 0, 4 * at);
    return value;
  });
  const acl = fc.array(fc.tuple(fc.constantFrom(0x01, 0x02, 0x04, 0x08, 0x10, 0x20), id)).map((entries) => {
    const value = Buffer.alloc(4 + 8 * entries.length);
    value.writeUInt32LE(2, 0);
    for (const [index, [tag, who]] of entries.entries()) {
      value.writeUInt16LE(tag, 4 + 8 * index);
      value.writeUInt32LE(tag === 0x02 || tag === 0x08 ? who : 0xffffffff, 8 + 8 * index);
    }
    return value;
  });
  const named = (name: string, value: Uint8Array): Xattr => [Buffer.from(name), value];
  fc.assert(
    fc.property(capability, acl, fc.uint8Array({ maxLength: 40 }), (capability, acl, note) => {
      const inside = [
        named('security.capability', capability),
        named('system.posix_acl_access', acl),
        named('user.note', note),
      ];
      const outside = shiftedXattrs([...inside, named('security.selinux', note)], shift);
      assert.equal(outside.length, 3);
      assert.deepEqual(xattrsInside(outside, shift), inside);
      // Attributes of any length that something wrote itself do not make it fail.
      for (const name of ['security.capability', 'system.posix_acl_default']) {
        xattrsInside([named(name, note)], shift);
        shiftedXattrs([named(name, note)], shift);
      }
    }),
  );
});
