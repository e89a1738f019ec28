import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Tree } from '../protocol.ts';
import { temporaryFolder } from '../testing/sandbox-job.ts';
import { openTreeCache } from './cache.ts';

const tree = (digit: string): Tree => ({ contents: digit.repeat(64), meta: 'f'.repeat(64) });
const keyOf = (digit: string): string => `${digit.repeat(64)}-${'f'.repeat(64)}`;

/** A checkout of one file of 100 KiB, counted. */
function counting(): { checkout: (tree: Tree, dest: string) => Promise<void>; calls: string[] } {
  const calls: string[] = [];
  return {
    calls,
    checkout: async (wanted, dest) => {
      calls.push(wanted.contents.charAt(0));
      await mkdir(dest);
      await writeFile(join(dest, 'file'), Buffer.alloc(100 * 1024, wanted.contents));
    },
  };
}

test('those who want the same tree share one checkout', async () => {
  await using folder = await temporaryFolder();
  const { checkout, calls } = counting();
  const cache = await openTreeCache({ dir: folder.path, maxBytes: 1e9, checkout });
  const held = await Promise.all([cache.acquire(tree('a')), cache.acquire(tree('a')), cache.acquire(tree('b'))]);
  assert.deepEqual(calls, ['a', 'b']);
  assert.equal(held[0].path, held[1].path);
  assert.equal((await readFile(join(held[2].path, 'file'), 'utf8')).charAt(0), 'b');
});

test('checkouts are kept for the next runner, and what is not whole is removed', async () => {
  await using folder = await temporaryFolder();
  const { checkout, calls } = counting();
  const first = await openTreeCache({ dir: folder.path, maxBytes: 1e9, checkout });
  await first.acquire(tree('a'));
  await mkdir(join(folder.path, '.tmp-1-1/half'), { recursive: true });
  await mkdir(join(folder.path, '.trash-1-1'));
  await writeFile(join(folder.path, `${keyOf('c')}.size`), '1');
  const second = await openTreeCache({ dir: folder.path, maxBytes: 1e9, checkout });
  await second.acquire(tree('a'));
  assert.deepEqual(calls, ['a']);
  assert.deepEqual((await readdir(folder.path)).sort(), [keyOf('a'), `${keyOf('a')}.size`, 'boot-id'].sort());
});

test('after a reboot nothing is trusted, for nothing was forced to the disk', async () => {
  await using folder = await temporaryFolder();
  const { checkout, calls } = counting();
  await (await openTreeCache({ dir: folder.path, maxBytes: 1e9, checkout })).acquire(tree('a'));
  await writeFile(join(folder.path, 'boot-id'), 'another\n');
  await (await openTreeCache({ dir: folder.path, maxBytes: 1e9, checkout })).acquire(tree('a'));
  assert.deepEqual(calls, ['a', 'a']);
});

test('the least recently used go first, and never what is in use', async () => {
  await using folder = await temporaryFolder();
  const { checkout } = counting();
  const cache = await openTreeCache({ dir: folder.path, maxBytes: 250 * 1024, checkout });
  const a = await cache.acquire(tree('a'));
  const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 3));
  (await cache.acquire(tree('b'))).release();
  await tick();
  (await cache.acquire(tree('c'))).release();
  const here = async (): Promise<string> =>
    (await readdir(folder.path))
      .filter((name) => name.length === 129)
      .map((name) => name.charAt(0))
      .sort()
      .join('');
  assert.equal(await here(), 'ac');
  await tick();
  (await cache.acquire(tree('d'))).release();
  assert.equal(await here(), 'ad');
  a.release();
  a.release();
  await tick();
  (await cache.acquire(tree('e'))).release();
  assert.equal(await here(), 'de');
});

test('a checkout that fails leaves nothing, tells all who wait, and can be tried again', async () => {
  await using folder = await temporaryFolder();
  let broken = true;
  const cache = await openTreeCache({
    dir: folder.path,
    maxBytes: 1e9,
    checkout: async (_tree, dest) => {
      await mkdir(join(dest, 'sealed'), { recursive: true });
      await writeFile(join(dest, 'sealed/file'), '');
      await chmod(join(dest, 'sealed'), 0o500);
      if (broken) throw new TypeError('broken');
    },
  });
  const both = await Promise.allSettled([cache.acquire(tree('a')), cache.acquire(tree('a'))]);
  assert.deepEqual(
    both.map((one) => one.status),
    ['rejected', 'rejected'],
  );
  assert.deepEqual(await readdir(folder.path), ['boot-id']);
  broken = false;
  await cache.acquire(tree('a'));
});

test('on a full disk, checkouts that nobody uses make room', async () => {
  await using folder = await temporaryFolder();
  const { checkout } = counting();
  const cache = await openTreeCache({
    dir: folder.path,
    maxBytes: 1e9,
    checkout: async (wanted, dest) => {
      if (wanted.contents.startsWith('b') && (await readdir(folder.path)).includes(keyOf('a'))) {
        throw Object.assign(new TypeError('no space'), { code: 'ENOSPC' });
      }
      await checkout(wanted, dest);
    },
  });
  (await cache.acquire(tree('a'))).release();
  await cache.acquire(tree('b'));
});
