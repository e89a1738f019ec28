import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fsck, hasClosure, listRefs, lookUp, readCommit, readFileObject, treeReader } from '@treeline/ostree';
import { type Developer, developer } from '../testing/developer.ts';

type Commit = {
  commit: string | null;
  ref: string;
  base: string;
  changes: { kind: string; path: string }[];
  download: object;
};

const paths = ({ changes }: Commit) => changes.map(({ kind, path }) => `${kind} ${path}`);

async function modeOf(dev: Developer, commit: string, path: string): Promise<string> {
  const repo = await dev.repo();
  const { tree } = await readCommit(repo, commit);
  const found = lookUp(treeReader(repo), tree, path);
  assert.equal(found?.kind, 'file', path);
  const { header } = await readFileObject(repo, (found as { checksum: string }).checksum);
  return `${(header.mode & 0o7777).toString(8)} ${header.uid}:${header.gid}`;
}

test('a workspace is committed against what was checked out, and only what was changed is new', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('robot');
  assert.equal(await dev.does('commit', work), `Nothing was changed in ${work} since ${dev.system.slice(0, 10)}.\n`);
  appendFileSync(join(work, 'usr/etc/speed'), 'fast\n');
  appendFileSync(join(work, 'usr/bin/sudo'), 'more\n');
  writeFileSync(join(work, 'usr/share/new'), 'new\n', { mode: 0o600 });
  rmSync(join(work, 'usr/share/doc'));
  const first = await dev.json<Commit>('commit', work, '-m', 'Faster\n\nMuch faster.');
  assert.deepEqual(paths(first), [
    'modified /usr/bin/sudo',
    'modified /usr/etc/speed',
    'removed /usr/share/doc',
    'added /usr/share/new',
  ]);
  const repo = await dev.repo();
  const commit = await readCommit(repo, first.commit!);
  assert.deepEqual([commit.parent, commit.subject, commit.body], [dev.system, 'Faster', 'Much faster.']);
  assert.deepEqual(
    commit.metadata.map(([name]) => name),
    ['ostree.ref-binding', 'ostree.bootable'],
  );
  assert.match(first.ref, /^dev\/[\w.-]+\/robot$/);
  assert.equal((await listRefs(repo)).get(first.ref), first.commit);
  assert.equal(await modeOf(dev, first.commit!, '/usr/bin/sudo'), '4755 0:0');
  assert.equal(await modeOf(dev, first.commit!, '/usr/share/new'), '600 0:0');
  assert.deepEqual(await hasClosure(repo, commit.tree), []);
  assert.deepEqual((await fsck(repo)).damaged, []);

  // The next one goes on from there, by another name if one likes.
  writeFileSync(join(work, 'usr/share/new'), 'newer\n');
  const second = await dev.json<Commit>('commit', work, '-b', 'dev/ana/try', '--owner', '12:34');
  assert.deepEqual([second.base, paths(second)], [first.commit, ['modified /usr/share/new']]);
  assert.equal(await modeOf(dev, second.commit!, '/usr/share/new'), '600 0:0', 'it was there before');
  assert.equal((await listRefs(repo)).get('dev/ana/try'), second.commit);
  assert.equal((await listRefs(repo)).get(first.ref), first.commit);
});

test('what is in one workspace is in no other, whatever was done to it, and the store is as it was', async (t) => {
  const dev = await developer(t);
  const [one, two] = [await dev.checkout('one'), await dev.checkout('two')];
  assert.ok(lstatSync(join(one, 'usr/etc/speed')).nlink > 1, 'it is hard-linked');
  for (const path of ['usr/etc/speed', 'usr/bin/dash']) {
    writeFileSync(join(one, path), 'edited in place\n');
    utimesSync(join(one, path), 0, 0);
  }
  assert.equal(readFileSync(join(two, 'usr/etc/speed'), 'utf8'), 'slow\n');
  rmSync(one, { recursive: true });
  const three = await dev.checkout('three');
  assert.equal(readFileSync(join(three, 'usr/etc/speed'), 'utf8'), 'slow\n');
  for (const name of [two, three]) assert.match(await dev.does('commit', name), /^Nothing was changed/);
  const again = await dev.checkout('plain', '--plain');
  assert.equal(readFileSync(join(again, 'usr/etc/speed'), 'utf8'), 'slow\n');
  assert.equal(lstatSync(join(again, 'usr/etc/speed')).nlink, 1);
});

test('a workspace that was moved is the same workspace, and a new folder in its place is none', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('before');
  const moved = join(dev.folder, 'after');
  renameSync(work, moved);
  writeFileSync(join(moved, 'usr/etc/speed'), 'fast\n');
  assert.deepEqual(paths(await dev.json<Commit>('commit', join(moved, 'usr/etc'))), ['modified /usr/etc/speed']);
  mkdirSync(work);
  const none = await dev.run(['commit', work]);
  assert.equal(none.code, 5);
  assert.match(none.stderr, /is no workspace/);
  assert.equal((await dev.run(['commit', dev.folder])).code, 5);
});

test('two workspaces of one name do not take each other’s ref', async (t) => {
  const dev = await developer(t);
  mkdirSync(join(dev.folder, 'a'));
  mkdirSync(join(dev.folder, 'b'));
  const refs: string[] = [];
  for (const name of ['a/robot', 'b/robot']) {
    const work = await dev.checkout(name);
    writeFileSync(join(work, 'usr/share/doc'), name);
    refs.push((await dev.json<Commit>('commit', work)).ref);
  }
  assert.equal(refs[1], `${refs[0]}-2`);
});

test('permissions that were changed are committed; a device, a pipe or a bad name is refused in words', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('robot');
  chmodSync(join(work, 'usr/share/doc'), 0o600);
  chmodSync(join(work, 'usr/etc'), 0o700);
  const commit = await dev.json<Commit>('commit', work);
  assert.deepEqual(paths(commit), ['modified /usr/etc', 'modified /usr/share/doc']);
  const { execFileSync } = await import('node:child_process');
  execFileSync('mkfifo', [join(work, 'usr/share/pipe')]);
  const refused = await dev.run(['commit', work]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /usr\/share\/pipe: Not a regular file or symlink/);
  rmSync(join(work, 'usr/share/pipe'));
  for (const [args, code] of [
    [['-b', '../up'], 2],
    [['-b', 'base/x'], 2],
    [['--owner', 'root'], 2],
  ] as const) {
    assert.equal((await dev.run(['commit', work, ...args])).code, code, args.join(' '));
  }
});

test('empty places that only `enter` needs are not committed, and what somebody puts there is', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('robot');
  for (const name of ['proc', 'dev', 'tmp', 'run', 'var', 'etc']) mkdirSync(join(work, name));
  writeFileSync(join(work, 'usr/etc/resolv.conf'), '');
  assert.match(await dev.does('commit', work), /^Nothing was changed/);
  writeFileSync(join(work, 'var/file'), 'x');
  mkdirSync(join(work, 'opt'));
  writeFileSync(join(work, 'usr/etc/resolv.conf'), 'nameserver 192.0.2.1\n');
  assert.deepEqual(paths(await dev.json<Commit>('commit', work)), [
    'added /opt',
    'added /usr/etc/resolv.conf',
    'added /var',
    'added /var/file',
  ]);
});

test('a workspace is compared as it is now, committed or not, with refs, checksums and other workspaces', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('robot');
  writeFileSync(join(work, 'usr/etc/speed'), 'fast\n');
  const cwd = join(work, 'usr');
  const before = await dev.run(['diff', dev.system, 'mine', '--patch'], { cwd });
  assert.match(before.stdout, /^--- a\/usr\/etc\/speed$[\s\S]*^-slow$\n^\+fast$/m);
  const shown = await dev.does('diff', dev.system.slice(0, 12), work);
  assert.match(shown, /^M {2}\/usr\/etc\/speed +content +5 B +\d+ B$/m);
  assert.match(
    shown,
    new RegExp(`${dev.system.slice(0, 10)} \\.\\. ${work} \\(not committed\\) {2}1 path: 1 modified`),
  );
  const { commit, ref } = await dev.json<Commit>('commit', work);
  assert.deepEqual((await dev.json<{ to: string; changes: object[] }>('diff', ref, work)).changes, []);
  assert.equal((await dev.json<{ to: string }>('diff', dev.system, 'mine')).to, commit);
  const other = await dev.checkout('other');
  const overlay = join(dev.folder, 'overlay.tar');
  await dev.does('diff', other, ref, '--export', overlay);
  assert.ok(statSync(overlay).size > 0);
  const unknown = await dev.run(['diff', 'production', 'mine']);
  assert.equal(unknown.code, 3, 'what is in production only a server knows');
});

test('once in a while, what no workspace uses any more goes', async (t) => {
  const dev = await developer(t);
  const gone = await dev.checkout('gone');
  rmSync(gone, { recursive: true });
  const [id] = readdirSync(join(dev.home, 'workspaces'));
  const record = join(dev.home, 'workspaces', id!, 'record.json');
  const old = readFileSync(record, 'utf8').replace(/"usedAt": "[^"]+"/, '"usedAt": "2020-01-01T00:00:00.000Z"');
  writeFileSync(record, old);
  const stale = join(dev.home, 'repo/refs/heads/base', id!);
  assert.ok(existsSync(stale));
  utimesSync(join(dev.home, 'tidied'), 0, 0);
  const kept = await dev.checkout('kept');
  assert.ok(!existsSync(stale) && !existsSync(record));
  assert.match(await dev.does('commit', kept), /^Nothing was changed/);
  assert.deepEqual((await fsck(await dev.repo())).damaged, []);
});

test('a checkout refuses what is not empty, and says what is wrong with the words', async (t) => {
  const dev = await developer(t);
  const work = await dev.checkout('robot');
  for (const [args, code] of [
    [['checkout', dev.system, work], 6],
    [['checkout', dev.system], 2],
    [['checkout', '--device', 'robot-1', dev.system, 'x'], 2],
    [['checkout', work, join(dev.folder, 'copy')], 2],
    [['checkout', 'f'.repeat(64), join(dev.folder, 'unknown')], 5],
    [['checkout', dev.system, join(dev.folder, 'no/such/folder')], 5],
  ] as const) {
    const { code: actual, stderr } = await dev.run([...args]);
    assert.equal(actual, code, `${args.join(' ')}: ${stderr}`);
  }
  assert.deepEqual(readdirSync(dev.folder).sort(), ['data', 'mine', 'robot', 'system'], 'nothing is left lying about');
});
