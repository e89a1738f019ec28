import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runSuite } from './harness.ts';
import { median } from './statistics.ts';
import type { Contender, Measure } from './suite.ts';
import { table } from './table.ts';

const sleep = (seconds: number): Contender => ({ command: ['sleep', String(seconds)] });
const shell = (script: string): Contender => ({ command: ['sh', '-c', script] });

async function runOne(t: TestContext, measure: Partial<Measure>, only: string[] = []) {
  const folder = await mkdtemp(join(tmpdir(), 'treeline-harness-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const whole = { name: 'nap', peer: 'sleep', ours: sleep(0.01), theirs: sleep(0.1), ...measure };
  const suite = {
    title: 'naps',
    run: async (bench: Parameters<Parameters<typeof runSuite>[0]['run']>[0]) => void (await bench.measure(whole)),
  };
  const scratch = join(folder, 'scratch');
  const report = await runSuite(suite, { scratch, machine: 'here', runs: 3, only, keepScratch: false, say: () => {} });
  assert.ok(!existsSync(scratch), 'the scratch folder is gone');
  return report;
}

test('the ratio says how many times faster ours is, from the medians of interleaved pairs', async (t) => {
  const order: string[] = [];
  const { rows, failed } = await runOne(t, {
    goal: 2,
    ours: { ...sleep(0.01), before: async () => void order.push('ours') },
    theirs: { ...sleep(0.1), before: async () => void order.push('theirs') },
  });
  assert.equal(failed, false);
  assert.deepEqual(order, ['ours', 'theirs', 'ours', 'theirs', 'ours', 'theirs']);
  const [row] = rows;
  assert.ok(row?.samples && row.ours && row.theirs && row.ratio);
  assert.equal(row.ours, median(row.samples.ours));
  assert.equal(row.ratio, row.theirs / row.ours);
  assert.ok(row.ratio > 1 && row.runs === 3);
});

test('peak memory is that of the command, not of this process', async (t) => {
  const hungry: Contender = { command: [process.execPath, '-e', 'Buffer.alloc(200 * 2 ** 20, 1)'] };
  const { rows } = await runOne(t, { ours: sleep(0), theirs: hungry, memory: true, runs: 1 });
  const memory = rows.find((row) => row.unit === 'MiB peak');
  assert.ok(memory?.ours && memory.ours < 20, `sleep took ${memory?.ours} MiB`);
  assert.ok(memory.theirs && memory.theirs > 200 && memory.theirs < 400, `node took ${memory.theirs} MiB`);
});

test('a side that fails gives a row that says why, and the report fails', async (t) => {
  const { rows, failed } = await runOne(t, { ours: shell('echo there is no verb nap >&2; exit 3') });
  assert.equal(failed, true);
  assert.equal(rows[0]?.ratio, null);
  assert.match(rows[0]?.note ?? '', /exit code 3: there is no verb nap/);
});

test('sides that did different work are not compared', async (t) => {
  const { rows, failed } = await runOne(t, {
    check: async () => {
      throw new assert.AssertionError({ message: 'one file less' });
    },
  });
  assert.equal(failed, true);
  assert.match(rows[0]?.note ?? '', /did not do the same: one file less/);
});

test('--only leaves out what does not match', async (t) => {
  assert.deepEqual((await runOne(t, {}, ['commit'])).rows, []);
});

test('the table marks missed goals', () => {
  const row = { measure: 'x', unit: 's', ours: 2, theirs: 3, peer: 'p', ratio: 1.5, goal: 2, runs: 1, machine: 'm' };
  assert.match(table([row]), /\| +1\.5× \| +≥ 2× \|.*MISSED/);
  assert.match(table([{ ...row, ratio: 2 }]), /met/);
});
