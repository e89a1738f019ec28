import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ours, theirs } from '../testing/verbs.ts';

const isRoot = process.getuid?.() === 0;

/** What is tried here does not have to survive a power cut, and flushing takes most of the time. */
function unsyncedRepo(path: string, mode: string): void {
  theirs([`--repo=${path}`, 'init', `--mode=${mode}`]);
  appendFileSync(join(path, 'config'), 'fsync=false\n');
}

/** Two folders and archives of them, with whatever can be different about a file. */
function sources(t: TestContext): string {
  const base = mkdtempSync(join(tmpdir(), 'treeline-commit-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const [one, two] = [join(base, 'one'), join(base, 'two')];
  for (const name of ['usr/bin', 'usr/lib/modules/6.1', 'etc', 'd']) mkdirSync(join(one, name), { recursive: true });
  for (const name of ['usr/bin', 'new', 'etc']) mkdirSync(join(two, name), { recursive: true });
  const write = (name: string, content: string) => writeFileSync(join(base, name), content);
  write('one/usr/bin/x', 'hi\n');
  chmodSync(join(one, 'usr/bin/x'), 0o4755);
  linkSync(join(one, 'usr/bin/x'), join(one, 'usr/bin/y'));
  symlinkSync('x', join(one, 'usr/bin/l'));
  write('one/usr/lib/modules/6.1/vmlinuz', 'k\n');
  write('one/etc/c', 'c\n');
  chmodSync(join(one, 'etc/c'), 0o664);
  chmodSync(join(one, 'd'), 0o1777);
  execFileSync('setfattr', ['-n', 'user.a', '-v', '1', join(one, 'etc/c')]);
  execFileSync('setfattr', ['-n', 'user.b', '-v', '2', join(one, 'd')]);
  if (isRoot) chownSync(join(one, 'etc/c'), 5, 6);
  write('two/usr/bin/n', 'new\n');
  write('two/usr/bin/x', 'over\n');
  write('two/etc/c', 'c2\n');
  chmodSync(join(two, 'usr'), 0o700);
  truncateSync(join(two, 'etc/c'), 300_000);
  appendFileSync(join(two, 'etc/c'), 'x');
  const tar = (name: string, folder: string, ...args: string[]) =>
    execFileSync('tar', [...args, '-C', join(base, folder), '-cf', join(base, name), '.']);
  tar('a.tar', 'one', '--xattrs', '--xattrs-include=*');
  tar('xz.tar', 'one', '-J');
  tar('bz2.tar', 'one', '-j');
  for (const version of ['0.0', '0.1', '1.0'])
    tar(`sparse${version}.tar`, 'two', '-S', `--sparse-version=${version}`, '--format=posix');
  tar('sparse.tar', 'two', '-S', '--format=gnu');
  execFileSync('tar', ['-C', one, '-cf', join(base, 'part.tar'), './usr/bin/x', 'usr/lib/modules/6.1/vmlinuz']);
  for (const format of ['newc', 'odc']) {
    execFileSync('sh', ['-c', `cd ${one} && find . | cpio -o -H ${format} 2>/dev/null > ../${format}.cpio`]);
  }
  write('overrides', '+1048 /usr/bin/y\n2048 /etc/c\n=384 /usr/bin/x\n=1023 /d\n');
  write('skip', '/etc/c\n/d\n');
  write('body', 'a line\n\nmore');
  return base;
}

const keys = Array.from({ length: 20 }, (_, index) => `--add-metadata-string=key${index}=${index}`);

/** Command lines after which the commit has to be the same; each is the parent of the next of its branch. */
const same = [
  'br/a --tree=dir=one',
  'br/a -s subject -m body one',
  'br/a -F body one',
  'br/b --owner-uid=7 one',
  'br/b --owner-gid=8 one',
  'br/b --canonical-permissions one',
  'br/b --no-xattrs one',
  'br/b --mode-ro-executables one',
  'br/b --statoverride=overrides one',
  'br/b --skip-list=skip one',
  'br/b --statoverride=overrides --skip-list=skip --owner-uid=3 one',
  'br/c --tree=dir=one --tree=dir=two',
  'br/c --tree=dir=two --tree=dir=one',
  'br/c --tree=ref=br/a --tree=dir=two',
  'br/c --tree=dir=two --tree=tar=a.tar',
  ...['a.tar', 'xz.tar', 'bz2.tar', 'newc.cpio', 'odc.cpio'].map((name) => `br/d --tree=tar=${name}`),
  ...['.tar', '0.0.tar', '0.1.tar', '1.0.tar'].map((name) => `br/d --tree=tar=sparse${name}`),
  'br/d --tar-autocreate-parents --tree=tar=part.tar',
  'br/d --canonical-permissions --tree=tar=a.tar',
  'br/d --no-xattrs --owner-uid=1 --tree=tar=a.tar',
  'br/d --statoverride=overrides --skip-list=skip --tree=tar=a.tar',
  'br/d --tar-pathname-filter=^usr/,opt/ --tar-autocreate-parents --tree=tar=a.tar',
  'br/d --tar-pathname-filter=(b)(in),\\2\\g<1> --tar-autocreate-parents --tree=tar=a.tar',
  'br/e --tree=ref=br/a',
  'br/e --tree=ref=br/a --owner-uid=9',
  'br/e --tree=ref=br/a --canonical-permissions',
  'br/e --tree=ref=br/a --statoverride=overrides',
  'br/e --tree=ref=br/a --skip-list=skip --no-xattrs',
  'br/e --base=br/a --tree=dir=two',
  'br/e --base=br/a --owner-uid=42 two',
  'br/f --bootable one',
  'br/f --bootable --add-metadata-string=version=1 --add-metadata=x=uint64\t5 --bind-ref=zz one',
  `br/f --bootable ${keys.join(' ')} one`,
  "br/g --add-metadata-string=k=v --add-metadata=d={'a':<1>,'b':<@as\t[]>} --add-metadata=m=@mi\t5 one",
  'br/g --keep-metadata=k --keep-metadata=d --add-metadata-string=z=1 one',
  'br/g --no-bindings --add-metadata-string=k=v one',
  'br/g --parent=none --bind-ref=q --bind-ref=b one',
  'br/g --skip-if-unchanged one',
  'br/g --add-detached-metadata-string=s=t --link-checkout-speedup one',
  'br/g --timestamp=Sat,\t29\tOct\t2005\t12:43:29\t+0200 one',
];

for (const mode of ['archive', 'bare-user', 'bare-user-only']) {
  test(`the same command line makes the same commit as ostree: ${mode}`, async (t) => {
    const base = sources(t);
    const cwd = { cwd: base };
    for (const repo of ['mine', 'other']) unsyncedRepo(join(base, repo), mode);
    for (const line of same) {
      // A tab stands for a space inside an argument.
      const [branch, ...args] = line.split(' ').map((part) => part.replaceAll('\t', ' '));
      const all = ['commit', '--timestamp=@1700000000', '-b', branch!, ...args];
      const expected = theirs(['--repo=other', ...all], cwd);
      assert.equal(expected.status, 0, `${line}: ${expected.stderr}`);
      const { status, stdout, stderr } = await ours(['--repo=mine', ...all], cwd);
      assert.deepEqual({ line, status, stdout, stderr }, { line, status: 0, stdout: expected.stdout, stderr: '' });
    }
    assert.equal(theirs(['--repo=mine', 'fsck', '-q'], cwd).status, 0);
  });
}

test('sizes are those of the objects, and ostree shows them', async (t) => {
  const base = sources(t);
  const repo = join(base, 'repo');
  unsyncedRepo(repo, 'archive');
  await ours([`--repo=${repo}`, 'commit', '-b', 'main', '--generate-sizes', join(base, 'one')]);
  const shown = theirs([`--repo=${repo}`, 'show', '--print-sizes', 'main']).stdout;
  assert.match(shown, /Number of objects \(needed\/total\): 0\/\d\d/);
  assert.equal((await ours([`--repo=${repo}`, 'show', '--print-sizes', 'main'])).stdout, shown);
});

test('what is wrong with a command line is said in the words of ostree', async (t) => {
  const base = sources(t);
  const repo = join(base, 'repo');
  unsyncedRepo(repo, 'archive');
  const wrong = [
    ['-b', 'x', '--add-metadata-string==v'],
    ['-b', 'x', '--add-metadata=k=foo'],
    ['-b', 'x', '--add-metadata-string=k'],
    ['-b', 'x', '--tree=dur=x'],
    ['-b', 'x', '--tree=x'],
    ['-b', 'x', `--statoverride=${base}/skip`],
    ['-b', 'x', `--skip-list=${base}/body`],
    ['-b', 'x', '--keep-metadata=k'],
    ['-b', 'x', '--canonical-permissions', '--owner-uid=4'],
    ['-b', 'x', '--timestamp=garbage'],
    ['-b', 'x', '--tree=ref=nosuch'],
    [],
  ];
  for (const args of wrong) {
    const all = [
      `--repo=${repo}`,
      'commit',
      ...args,
      ...(args.some((one) => one.startsWith('--tree')) ? [] : [join(base, 'two')]),
    ];
    const { status, stderr } = theirs([...all]);
    const got = await ours([...all]);
    assert.deepEqual({ args, status: got.status, stderr: got.stderr }, { args, status, stderr });
  }
});

test('consumed folders go away once they are committed, and stay when they cannot be', async (t) => {
  const base = sources(t);
  const repo = join(base, 'repo');
  unsyncedRepo(repo, 'bare-user-only');
  cpSync(join(base, 'two'), join(base, 'eaten'), { recursive: true });
  writeFileSync(join(base, 'eaten/own'), 'to be the object itself');
  const { ino } = statSync(join(base, 'eaten/own'));
  const failed = await ours([`--repo=${repo}`, 'commit', '-b', 'x', '--bootable', '--consume', join(base, 'eaten')]);
  assert.equal(failed.status, 1);
  assert.ok(existsSync(join(base, 'eaten/own')));
  const { status } = await ours([`--repo=${repo}`, 'commit', '-b', 'x', '--consume', join(base, 'eaten')]);
  assert.equal(status, 0);
  assert.ok(!existsSync(join(base, 'eaten')));
  const checksum = /([0-9a-f]{64}) \/own/.exec(theirs([`--repo=${repo}`, 'ls', '-C', 'x', '/own']).stdout)![1]!;
  assert.equal(statSync(join(repo, 'objects', checksum.slice(0, 2), `${checksum.slice(2)}.file`)).ino, ino);
  assert.equal(theirs([`--repo=${repo}`, 'fsck', '-q']).status, 0);
});

test('an editor is asked for a message, and lines with # are not part of it', async (t) => {
  const base = sources(t);
  const repo = join(base, 'repo');
  unsyncedRepo(repo, 'archive');
  const editor = join(base, 'editor');
  writeFileSync(
    editor,
    '#!/bin/sh\ncp "$1" "$0.saw"\nprintf "# no\\n\\nsubject \\n# no\\nbody\\n\\nmore\\n\\n" > "$1"\n',
    { mode: 0o755 },
  );
  const env = { OSTREE_EDITOR: editor };
  assert.equal((await ours([`--repo=${repo}`, 'commit', '-b', 'x', '-e', join(base, 'two')], { env })).status, 0);
  assert.match(readFileSync(`${editor}.saw`, 'utf8'), /^\n# Please enter .*\n(.*\n)*# Branch: x\n$/);
  const shown = theirs([`--repo=${repo}`, 'show', 'x']).stdout;
  assert.match(shown, /\n\n {4}subject\n\n {4}body\n {4}\n {4}more\n/);
  assert.equal((await ours([`--repo=${repo}`, 'show', 'x'])).stdout, shown);
});

test('what show, log, ls, cat and checksum print is what ostree prints', async (t) => {
  const base = sources(t);
  const repo = join(base, 'repo');
  unsyncedRepo(repo, 'archive');
  const commit = ['commit', '-b', 'x', '-s', 'sub\nject', '-m', 'body\ntwo\n', '--add-metadata-string=version=5'];
  theirs([`--repo=${repo}`, ...commit, '--add-metadata=n=uint64 42', '--add-metadata=ay=b"abc"', join(base, 'one')]);
  theirs([`--repo=${repo}`, ...commit, '--generate-sizes', join(base, 'two')]);
  const objects = theirs([`--repo=${repo}`, 'ls', '-RC', 'x^']).stdout.match(/[0-9a-f]{64}/g)!;
  const lines = [
    ['log', 'x'],
    ['log', '--raw', 'x'],
    ['show', 'x^'],
    ['show', '--raw', 'x^'],
    ['show', '-B', 'x^'],
    ['show', '--print-metadata-key=n', 'x^'],
    ['show', '-B', '--print-metadata-key=n', 'x^'],
    ['show', '--print-metadata-key=ay', 'x^'],
    ['show', '--print-sizes', 'x'],
    ['show', '--print-related', 'x'],
    ['show', 'nosuch'],
    ['show', '0'.repeat(64)],
    ...[...new Set(objects)].flatMap((object) => [
      ['show', object],
      ['show', '--raw', object],
    ]),
    ['ls', '-RCX', 'x^'],
    ['ls', 'x^', '/etc', '/usr/bin/l'],
    ['ls', '-d', 'x^', '/etc'],
    ['ls', '--nul-filenames-only', '-R', 'x^'],
    ['ls', 'x', '/etc/c/d'],
    ['ls', 'x', '/nosuch'],
    ['cat', 'x^', '/usr/bin/l', '/etc/c'],
    ['cat', 'x', '/nosuch'],
    ['cat', 'x', '/etc'],
  ];
  for (const line of lines) {
    const { status, stdout, stderr } = theirs([`--repo=${repo}`, ...line]);
    const got = await ours([`--repo=${repo}`, ...line]);
    assert.deepEqual(
      { line, ...got, stderr: got.stderr.split('\n')[0] },
      { line, status, stdout, stderr: stderr.split('\n')[0] },
    );
  }
  for (const name of ['one/etc/c', 'one/usr/bin/l', 'one/d']) {
    const path = join(base, name);
    assert.equal((await ours(['checksum', path])).stdout, theirs(['checksum', path]).stdout);
    assert.equal(
      (await ours(['checksum', '--ignore-xattrs', path])).stdout,
      theirs(['checksum', '--ignore-xattrs', path]).stdout,
    );
  }
});

test('an exported tree is, committed again, the same tree', async (t) => {
  const base = sources(t);
  const repo = join(base, 'repo');
  unsyncedRepo(repo, 'archive');
  theirs([`--repo=${repo}`, 'commit', '-b', 'x', join(base, 'one')]);
  const listing = (ref: string) => theirs([`--repo=${repo}`, 'ls', '-RCX', ref]).stdout;
  for (const [by, to] of [
    [ours, theirs],
    [ours, ours],
    [theirs, ours],
  ] as const) {
    const tar = join(base, 'export.tar');
    // libarchive's GNU format, which ostree writes, has no extended attributes.
    const flags = by === theirs ? ['--no-xattrs'] : [];
    assert.equal((await by([`--repo=${repo}`, 'export', ...flags, '-o', tar, 'x'])).status, 0);
    assert.equal((await to([`--repo=${repo}`, 'commit', '-b', 'again', `--tree=tar=${tar}`])).status, 0);
    if (by !== theirs) assert.equal(listing('again'), listing('x'));
    else
      assert.equal(
        listing('again')
          .match(/\/\S+$/gm)!
          .join(),
        listing('x')
          .match(/\/\S+$/gm)!
          .join(),
      );
  }
  const names = (...args: string[]) => execFileSync('tar', ['-tf', ...args], { encoding: 'utf8' });
  for (const args of [['--prefix=the/'], ['--subpath=usr', '--prefix=u/'], ['--subpath=/usr']]) {
    const [a, b] = [join(base, 'a'), join(base, 'b')];
    await ours([`--repo=${repo}`, 'export', '-o', a, ...args, 'x']);
    theirs([`--repo=${repo}`, 'export', '-o', b, ...args, 'x']);
    assert.equal(names(a), names(b));
  }
});
