import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runSuite } from './harness.ts';
import { suite } from './suites/engine.ts';

test('the suite works on a tiny tree, and makes no more than the measures that are wanted need', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'treeline-engine-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const only = ['diff of two commits', 'prune', 'summary with'];
  const options = { scratch: folder, machine: 'here', runs: 1, only, small: true, keepScratch: true, say: () => {} };
  const { rows, failed, remarks } = await runSuite(suite, options);
  assert.equal(failed, false, [...rows.map(({ note }) => note), ...remarks].join('\n'));
  assert.deepEqual(
    [...new Set(rows.map(({ measure }) => measure))],
    [
      'diff of two commits, 20 files changed',
      'prune after deleting half of the refs',
      'summary with 1,000 refs after one change',
    ],
  );
  assert.ok(rows.every(({ ours, theirs }) => ours !== null && ours > 0 && theirs !== null && theirs > 0));
  for (const name of ['ours', 'bare-user', 'large']) assert.ok(!existsSync(join(folder, name)), name);
});
