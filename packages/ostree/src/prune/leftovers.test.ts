import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeFolder } from '../commit/folder.ts';
import { writeCommit } from '../commit/write-commit.ts';
import { generateDelta } from '../delta/generate.ts';
import { deltaFolder } from '../delta/names.ts';
import type { Checksum } from '../formats/object-name.ts';
import { lockRepo } from '../repo/lock.ts';
import { readRef, setAlias } from '../repo/refs.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { switchPair } from '../summary/switch-pair.ts';
import { firstLine } from '../testing/first-line.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { until } from '../testing/until.ts';
import { writeVersion } from '../testing/versions.ts';
import { removeLeftovers } from './leftovers.ts';

const LEFT = [
  'tmp/delta-aB3xYz/0',
  'tmp/summary-0123456789ab',
  'tmp/summary-0123456789ab.sig',
  'tmp/treeline-checkout-0123456789abcdef',
  'tmp/treeline-begun-0123456789abcdef/.held',
  'tmp/treeline-0123456789abcdef/.held',
  'tmp/treeline-aaaaaaaaaaaaaaaa/x.dirtree',
  'tmp/cache/treeline-summary.sha256.4711',
  'tmp/cache/treeline-superblocks.json.4711',
  '.summary.0123456789ab',
  '.config.0123456789ab',
  'refs/heads/os/.stable.0123456789ab',
  'refs/heads/os/.alias-0123456789ab',
  'delta-indexes/ab/.x.index.0123456789ab',
  `${deltaFolder(null, 'a'.repeat(64))}/0`,
  `${deltaFolder('b'.repeat(64), 'a'.repeat(64))}/0`,
];
/** What looks nearly like it. */
const KEPT = [
  'tmp/cache/treeline-summary.sha256',
  'tmp/cache/summaries/origin',
  'tmp/push-0123456789abcdef/pack',
  'tmp/delta-of-mine',
  'tmp/summary-notes',
  'refs/heads/delta-aB3xYz',
  'deltas/aa/notes',
];

async function setUp(t: TestContext): Promise<{ repo: Repo; first: Checksum; second: Checksum }> {
  const folder = scratchFolder(t);
  const repo = await createRepo(join(folder, 'repo'));
  const commits: Checksum[] = [];
  for (const version of [1, 2] as const) {
    writeVersion(join(folder, 'tree'), version);
    const commit = await withTransaction(repo, async (tx) => {
      const made = await writeCommit(tx, { tree: await writeFolder(tx, join(folder, 'tree')) });
      tx.setRef('os/stable', made);
      return made;
    });
    commits.push(commit);
  }
  const [first, second] = commits as [Checksum, Checksum];
  await generateDelta(repo, { from: first, to: second });
  await setAlias(repo, 'os/alias', 'os/stable');
  return { repo, first, second };
}

function leave(repo: Repo, paths: readonly string[], secondsAgo: number): void {
  for (const path of paths) {
    const file = join(repo.path, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, path.includes('refs/heads/d') ? `${'c'.repeat(64)}\n` : 'x');
    const then = Date.now() / 1000 - secondsAgo;
    utimesSync(file, then, then);
    if (!['tmp', 'cache'].includes(dirname(path).split('/').at(-1)!)) utimesSync(dirname(file), then, then);
  }
}

test('what killed processes have left goes; what else is there stays', async (t) => {
  const { repo, first, second } = await setUp(t);
  leave(repo, [...LEFT, ...KEPT], 0);
  const removed = await removeLeftovers(repo, { alone: true });
  for (const path of LEFT) assert.ok(!existsSync(join(repo.path, path)), path);
  for (const path of KEPT) assert.ok(existsSync(join(repo.path, path)), path);
  assert.equal(removed.length, LEFT.length);
  assert.equal(await readRef(repo, 'os/alias'), second);
  assert.ok(existsSync(join(repo.path, deltaFolder(first, second), 'superblock')));
  assert.deepEqual(await removeLeftovers(repo, { alone: true }), []);
});

test('others may be at work: what may be theirs has to be an hour old', async (t) => {
  const { repo } = await setUp(t);
  leave(repo, LEFT, 600);
  // Nobody holds the lock of this one: its process is gone, however young it is.
  assert.deepEqual(await removeLeftovers(repo), ['tmp/treeline-0123456789abcdef']);
  leave(repo, LEFT, 2 * 3600);
  assert.equal((await removeLeftovers(repo)).length, LEFT.length);
});

test('a summary that was just being replaced is whole, old or new, with its own signatures', async (t) => {
  const { repo } = await setUp(t);
  const [summary, signatures] = [join(repo.path, 'summary'), join(repo.path, 'summary.sig')];
  const steps = ['begin', 'link summary.sig', 'link summary', 'switch', 'settle summary.sig', 'settle summary', 'tidy'];
  for (const [before, after] of [
    ['old', 'new'],
    ['old', null],
    [null, 'new'],
  ]) {
    for (const last of steps) {
      writeFileSync(summary, 'old');
      if (before) writeFileSync(signatures, before);
      else rmSync(signatures, { force: true });
      const next = { summary: Buffer.from('new'), 'summary.sig': after ? Buffer.from(after) : null };
      const killed = async () => {
        const tidy = await switchPair(repo.path, next, (step) => {
          if (step === last) throw new Error('killed');
        });
        tidy();
      };
      await assert.rejects(killed, { message: 'killed' });
      assert.deepEqual(await removeLeftovers(repo), [], 'it might be under way');
      const removed = await removeLeftovers(repo, { alone: true });
      assert.deepEqual(removed.length, 1, last);
      for (const path of [summary, signatures]) assert.ok(!existsSync(path) || !lstatSync(path).isSymbolicLink(), last);
      const version = readFileSync(summary, 'utf8');
      const signed = existsSync(signatures) ? readFileSync(signatures, 'utf8') : null;
      assert.equal(signed, version === 'new' ? after : before, last);
      assert.equal(version, steps.indexOf(last) > steps.indexOf('switch') ? 'new' : 'old', last);
    }
  }
});

test('it waits for whoever writes, and can be called off', async (t) => {
  const { repo } = await setUp(t);
  leave(repo, LEFT, 0);
  const release = await lockRepo(repo, 'shared');
  await assert.rejects(removeLeftovers(repo, { alone: true, signal: AbortSignal.timeout(50) }), { name: 'AbortError' });
  assert.ok(existsSync(join(repo.path, LEFT[0]!)));
  release();
});

test('a process that was killed while it committed and made a delta leaves nothing after it', async (t) => {
  const { repo, first, second } = await setUp(t);
  const program = `
    const { generateDelta, openRepo, withTransaction } = await import(${JSON.stringify(new URL('../index.ts', import.meta.url).href)});
    const repo = await openRepo(${JSON.stringify(repo.path)});
    await withTransaction(repo, async (tx) => {
      tx.writeDirTree({ files: new Map([['x', 'd'.repeat(64)]]), dirs: new Map() });
      for (;;) await generateDelta(repo, { from: '${second}', to: '${first}' }).then(() => console.log('again'));
    });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  await firstLine(child);
  const seen = () => readdirSync(join(repo.path, 'tmp')).filter((name) => /^treeline-[0-9a-f]{16}$/.test(name)).length;
  await until(() => seen() >= 2, 'a delta in the making beside the transaction');
  child.kill('SIGKILL');
  await ended;
  await removeLeftovers(repo, { alone: true });
  assert.deepEqual(
    readdirSync(join(repo.path, 'tmp')).filter((name) => name !== 'cache'),
    [],
  );
  ostree(`--repo=${repo.path}`, 'fsck');
});
