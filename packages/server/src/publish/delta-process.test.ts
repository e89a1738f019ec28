import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createRepo, hasDelta, type Repo, withTransaction, writeCommit, writeFolder } from '@treeline/ostree';
import { until } from '@treeline/ostree/testing/until.ts';
import { scratch } from '../testing/scratch.ts';
import { generateElsewhere } from './delta-process.ts';

const MEGABYTE = 1024 * 1024;

/** A repository with two commits of files that cost some work to compare. */
async function twoCommits(t: TestContext, megabytes: number): Promise<{ repo: Repo; from: string; to: string }> {
  const folder = scratch(t);
  const repo = await createRepo(join(folder, 'repo'), { mode: 'archive' });
  const commitOf = async (change: number): Promise<string> => {
    await mkdir(join(folder, 'files'), { recursive: true });
    for (let file = 0; file < megabytes; file += 1) {
      const bytes = Buffer.alloc(MEGABYTE, `${file} `);
      randomBytes(1000).copy(bytes, change * 5000);
      await writeFile(join(folder, 'files', String(file)), bytes);
    }
    return await withTransaction(repo, async (tx) =>
      writeCommit(tx, { tree: await writeFolder(tx, join(folder, 'files')) }),
    );
  };
  return { repo, from: await commitOf(1), to: await commitOf(2) };
}

/** Processes of this one that make deltas of a repository. */
function processesOf(path: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return words.includes(path) && words.some((word) => word.endsWith('delta-program.ts'));
      } catch {
        return false;
      }
    })
    .map(Number);
}

test('a delta is made in a process of its own, while this one goes on', async (t) => {
  const { repo, from, to } = await twoCommits(t, 24);
  let longest = 0;
  let before = process.cpuUsage();
  // What this process has worked, not what others took from it.
  const ticking = setInterval(() => {
    const { user, system } = process.cpuUsage(before);
    longest = Math.max(longest, (user + system) / 1000);
    before = process.cpuUsage();
  }, 5);
  t.after(() => clearInterval(ticking));
  let seen = 0;
  const watching = setInterval(() => (seen = Math.max(seen, processesOf(repo.path).length)), 50);
  t.after(() => clearInterval(watching));
  const bytes = await generateElsewhere(repo.path, { from, to }, t.signal);
  assert.ok(bytes > 0 && bytes < 24 * MEGABYTE);
  assert.ok(hasDelta(repo, { from, to }));
  assert.equal(seen, 1);
  assert.deepEqual(processesOf(repo.path), []);
  // What compares and compresses holds a thread for seconds; here it holds none.
  assert.ok(longest < 1500, `it worked ${longest} ms, and nothing else happened`);
});

test('it ends when it is told to, leaves no process, and what it had staged goes with the next transaction', async (t) => {
  const { repo, from, to } = await twoCommits(t, 48);
  const stop = new AbortController();
  const making = generateElsewhere(repo.path, { from, to }, stop.signal);
  await until(() => processesOf(repo.path).length > 0, 'the process');
  await setTimeout(300);
  const asked = performance.now();
  stop.abort();
  await assert.rejects(making, { code: 'unprocessable' });
  assert.ok(performance.now() - asked < 60_000);
  assert.deepEqual(processesOf(repo.path), []);
  assert.equal(hasDelta(repo, { from, to }), false);
  await withTransaction(repo, async () => {});
  const staged = readdirSync(join(repo.path, 'tmp')).filter((name) => /^treeline-[0-9a-f]{16}$/.test(name));
  assert.deepEqual(staged, []);
});

test('why it could not be made is told', async (t) => {
  const { repo, from } = await twoCommits(t, 1);
  const delta = { from, to: 'f'.repeat(64) };
  await assert.rejects(generateElsewhere(repo.path, delta, t.signal), {
    code: 'unprocessable',
    message: /ffffffffffff/,
  });
});
