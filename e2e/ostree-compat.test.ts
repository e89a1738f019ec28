// libostree's own tools as the judge: of what Treeline writes, serves and pulls, on a tree of real files.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  globSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRepo, hasObject, openRepo, pull, readRef, serveRepository } from '@treeline/ostree';
import { freePort } from '@treeline/ostree/testing/free-port.ts';
import { scratchFolder } from './testing/scratch.ts';
import { treeline } from './testing/treeline-server.ts';

const FILES = 5000;
let tree: string;
let ours: string;
let theirs: string;

function ostree(...args: string[]): string {
  return execFileSync('ostree', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 28 });
}

before(async (t) => {
  const base = scratchFolder(t as never);
  tree = join(base, 'tree');
  mkdirSync(tree);
  makeTree(tree);
  ours = join(base, 'ours');
  theirs = join(base, 'theirs');
  await createRepo(ours);
  const { status, output } = await treeline([
    'repo',
    'commit',
    `--repo=${ours}`,
    '-b',
    'real',
    '-s',
    'x',
    '--timestamp=@1',
    tree,
  ]);
  assert.equal(status, 0, output);
  ostree('init', `--repo=${theirs}`, '--mode=archive');
  ostree('commit', `--repo=${theirs}`, '-b', 'real', '-s', 'x', '--timestamp=@1', `--tree=dir=${tree}`);
});

/** Real files of this machine, at least FILES of them, and what real trees have once in a thousand files. */
function makeTree(folder: string): void {
  let files = 0;
  for (const [index, source] of [
    '/usr/share/doc',
    '/usr/share/zoneinfo',
    '/usr/bin',
    '/usr/share/perl',
    '/usr/share',
    '/usr/include',
    '/usr/lib',
  ].entries()) {
    if (files >= FILES) break;
    execFileSync('cp', ['-a', source, join(folder, `part-${index}`)]);
    files = Number(execFileSync('sh', ['-c', `find ${folder} -type f | wc -l`], { encoding: 'utf8' }));
  }
  assert.ok(files >= FILES, `this machine has only ${files} files to test with`);
  const odd = join(folder, 'odd');
  mkdirSync(join(odd, 'empty folder'), { recursive: true });
  for (const name of [
    'größe',
    '\u{1F916}.txt',
    ' leading',
    'a\nnewline',
    '"quotes"',
    '-dash',
    '..three',
    'x'.repeat(255),
  ]) {
    writeFileSync(join(odd, name), name);
  }
  writeFileSync(join(odd, 'empty'), '');
  writeFileSync(join(odd, 'setuid'), 'x');
  chmodSync(join(odd, 'setuid'), 0o6755);
  chmodSync(join(odd, 'empty folder'), 0o1777);
  symlinkSync('\u{1F916}.txt', join(odd, 'link'));
  symlinkSync('/nowhere', join(odd, 'dangling'));
  writeFileSync(join(odd, 'large'), Buffer.alloc(30_000_001, 'a line that repeats, with a number: 42\n'));
  writeFileSync(join(odd, 'sparse'), 'x');
  truncateSync(join(odd, 'sparse'), 40_000_000);
  if (process.getuid?.() === 0) execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', join(odd, 'large')]);
}

test('a tree of real files has the same checksums, down to the commit, by either', async () => {
  assert.equal(ostree(`--repo=${ours}`, 'ls', '-RCX', 'real'), ostree(`--repo=${theirs}`, 'ls', '-RCX', 'real'));
  assert.equal(await readRef(await openRepo(ours), 'real'), await readRef(await openRepo(theirs), 'real'));
});

test('libostree finds no fault with what Treeline wrote, nor Treeline with what libostree wrote', async () => {
  assert.match(ostree(`--repo=${ours}`, 'fsck'), /no errors found/);
  const { status, output } = await treeline(['repo', 'fsck', `--repo=${theirs}`]);
  assert.equal(status, 0, output);
});

test('a stock client pulls from Treeline', async (t) => {
  const server = await serveRepository(ours);
  t.after(() => server.close());
  const client = join(scratchFolder(t), 'client');
  ostree('init', `--repo=${client}`, '--mode=archive');
  ostree(`--repo=${client}`, 'remote', 'add', '--no-gpg-verify', 'origin', server.url);
  // Not execFileSync: the server is in this process.
  const child = spawn('ostree', [`--repo=${client}`, 'pull', 'origin', 'real'], { stdio: 'ignore' });
  const status = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(status, 0);
  assert.match(ostree(`--repo=${client}`, 'fsck'), /no errors found/);
});

test('Treeline pulls from a plain static server of a repository that libostree made', async (t) => {
  const port = await freePort();
  const server = spawn('python3', ['-m', 'http.server', '--bind', '127.0.0.1', '--directory', theirs, String(port)], {
    stdio: 'ignore',
  });
  t.after(() => server.kill('SIGKILL'));
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`http://127.0.0.1:${port}/config`).catch(() => null);
    if (answer?.ok) break;
    assert.ok(tries < 600 && server.exitCode === null, "Python's server does not answer");
    await sleep(50);
  }
  const client = await createRepo(join(scratchFolder(t), 'client'));
  await pull(client, { url: `http://127.0.0.1:${port}`, refs: ['real'] });
  assert.match(ostree(`--repo=${client.path}`, 'fsck'), /no errors found/);
});

test('objects that were tampered with are refused by name and place, and nothing of them stays', async (t) => {
  const base = scratchFolder(t);
  const source = join(base, 'source');
  ostree('init', `--repo=${source}`, '--mode=archive');
  ostree('commit', `--repo=${source}`, '-b', 'real', '--tree=dir=/usr/share/common-licenses');
  const server = await serveRepository(source);
  t.after(() => server.close());
  const commit = (await readRef(await openRepo(source), 'real'))!;
  const all = globSync('objects/*/*', { cwd: source }).sort();
  for (const extension of ['filez', 'dirtree', 'dirmeta', 'commit']) {
    const candidates = all.filter((path) => path.endsWith(`.${extension}`));
    const victim = candidates[candidates.length >> 1]!;
    const path = join(source, victim);
    const name = victim.replace(/^objects\/|\//g, '').replace(/\.filez$/, '');
    const good = readFileSync(path);
    for (const damage of damages(good)) {
      writeFileSync(path, damage);
      const client = await createRepo(join(base, 'client'));
      await assert.rejects(
        pull(client, { url: server.url, refs: ['real'] }),
        (error: Error & { code: string; object?: string }) => {
          assert.equal(error.code, 'corrupt', error.message);
          assert.ok(error.message.includes(name), `${error.message} should name ${name}`);
          // Where the form is broken, the place in it; where only the content is, what it really is.
          assert.match(error.message, /byte \d+|\d+ bytes|expected='[0-9a-f]{64}' actual='[0-9a-f]{64}'/);
          return true;
        },
      );
      assert.equal(await readRef(client, 'real'), null);
      assert.equal(hasObject(client, 'commit', commit), false);
      assert.equal(spawnSync('ostree', ['fsck', `--repo=${client.path}`]).status, 0);
      // What is of use stays, and none of it is wrong: the whole remote completes it.
      writeFileSync(path, good);
      await pull(client, { url: server.url, refs: ['real'] });
      assert.match(ostree(`--repo=${client.path}`, 'fsck'), /no errors found/);
      rmSync(client.path, { recursive: true });
    }
  }
});

/** Longer, shorter, empty, and with one bit wrong at several places. */
function damages(good: Buffer): Buffer[] {
  const places = [0, good.length >> 2, good.length >> 1, good.length - 2];
  return [
    Buffer.concat([good, Buffer.from('x')]),
    good.subarray(0, good.length - 1),
    Buffer.alloc(0),
    ...places.map((place) => Buffer.from(good.map((byte, index) => (index === place ? byte ^ 0x10 : byte)))),
  ];
}
