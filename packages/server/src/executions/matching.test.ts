import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OFFER } from '../testing/runner.ts';
import { unmetBy, whyItWaits } from './matching.ts';
import type { ExecutionSpec } from './spec.ts';

function spec(o: {
  gpu?: boolean;
  arch?: string;
  labels?: string[];
  emulated?: string[];
  memoryBytes?: number;
  root?: true;
}) {
  const { gpu = false, arch = OFFER.arch, labels = [], emulated = [], memoryBytes, root } = o;
  return {
    work: { kind: 'command', platform: { arch, gpu, labels, emulated }, job: { memoryBytes, root } },
  } as unknown as ExecutionSpec;
}
const runner = (offer: Partial<typeof OFFER>, state: { online?: boolean; busy?: boolean } = {}) => ({
  offer: { ...OFFER, ...offer },
  online: state.online ?? true,
  busy: state.busy ?? false,
});

test('a runner that lacks what a job needs cannot take it', () => {
  assert.deepEqual(unmetBy(spec({}), OFFER), []);
  assert.equal(unmetBy(spec({ gpu: true }), OFFER).length, 1);
  assert.equal(unmetBy(spec({ gpu: true, labels: ['fast'], memoryBytes: 2 ** 50 }), OFFER).length, 3);
  assert.deepEqual(unmetBy(spec({ gpu: true, labels: ['fast'] }), { ...OFFER, gpu: true, labels: ['fast'] }), []);
});

test('a job whose key says that the GPU is emulated goes to a runner that emulates it, and only there', () => {
  const job = spec({ gpu: true, emulated: ['gpu'] });
  assert.deepEqual(unmetBy(job, { ...OFFER, emulates: ['gpu'] }), []);
  assert.equal(unmetBy(job, { ...OFFER, gpu: true }).length, 1);
});

test('a waiting job names each runner and the needs that it fails', () => {
  assert.equal(whyItWaits(spec({}), []), 'no runner is connected');
  assert.equal(whyItWaits(spec({}), [runner({}, { online: false })]), 'no runner is connected');
  const why = whyItWaits(spec({ gpu: true, arch: 'riscv64' }), [
    runner({ name: 'a' }),
    runner({ name: 'b', gpu: true }),
  ]);
  assert.match(why, /^a: .*riscv64.*GPU.*; b: .*riscv64/);
  assert.equal(whyItWaits(spec({}), [runner({ name: 'a' }, { busy: true })]), 'a: busy with other jobs');
});

test('a root job waits for a runner that can run it, and says what those that are there lack', () => {
  const job = spec({ root: true });
  assert.deepEqual(unmetBy(job, { ...OFFER, lacksForRoot: null }), []);
  assert.deepEqual(unmetBy(spec({}), { ...OFFER, lacksForRoot: 'newuidmap is not installed' }), []);
  const why = whyItWaits(job, [
    runner({ name: 'a', lacksForRoot: 'newuidmap is not installed (apt-get install uidmap)' }),
    runner({ name: 'b' }),
  ]);
  assert.equal(
    why,
    'a: cannot run jobs as root: newuidmap is not installed (apt-get install uidmap); b: cannot run jobs as root: this runner is of a version that knows none',
  );
});
