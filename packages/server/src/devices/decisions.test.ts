import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decideAdmission, decideEnrolment, decideOffer, releaseFailed } from './decisions.ts';
import type { DeviceRow, EnrolmentTokenRow } from './tables.ts';

const commit = fc.constantFrom('a', 'b', 'c', 'd');

test('a device is never offered what was bad on it, and the release of its channel whenever it was not', () => {
  fc.assert(
    fc.property(
      fc.option(commit),
      fc.array(commit),
      fc.array(commit),
      fc.option(commit),
      (current, history, list, running) => {
        const bad = new Set<string>(list);
        const offer = decideOffer({ current, history, bad, running });
        if (offer !== null) assert.ok(!bad.has(offer));
        if (current !== null && !bad.has(current)) assert.equal(offer, current);
        const good = history.find((item) => !bad.has(item));
        if (current !== null && bad.has(current) && good !== undefined) assert.equal(offer, good);
      },
    ),
  );
});

test('without a good release the device stays with what it runs; without any release it gets nothing', () => {
  assert.equal(decideOffer({ current: 'b', history: ['b'], bad: new Set(['b']), running: 'a' }), 'a');
  assert.equal(decideOffer({ current: 'b', history: ['b'], bad: new Set(['b']), running: 'b' }), null);
  assert.equal(decideOffer({ current: null, history: ['a'], bad: new Set(), running: 'a' }), null);
});

const token = (o: Partial<EnrolmentTokenRow>): EnrolmentTokenRow => ({
  ...{ hash: 'h', created_at: 0, expires_at: 100, uses_left: 1, channel: null, repository: 'public' },
  ...o,
});
const device = (o: Partial<DeviceRow>) =>
  ({ public_key: 'k', accepted: 1, key_change_allowed: 0, token_hash: 'h', ...o }) as DeviceRow;

test('enrolment costs a use, a repetition none, and another key is refused', () => {
  const ask = (o: { token?: EnrolmentTokenRow; device?: DeviceRow; publicKey?: string; now?: number }) =>
    decideEnrolment({ token: o.token, device: o.device, publicKey: o.publicKey ?? 'k', now: o.now ?? 50 });
  assert.deepEqual(ask({ token: token({}) }), { use: 1 });
  assert.deepEqual(ask({ token: token({}), now: 100 }), { refused: 'token-invalid' });
  assert.deepEqual(ask({ token: token({ uses_left: 0 }) }), { refused: 'token-invalid' });
  assert.deepEqual(ask({}), { refused: 'token-invalid' });
  assert.deepEqual(ask({ token: token({ uses_left: 0 }), device: device({}) }), { use: 0 });
  assert.deepEqual(ask({ token: token({}), device: device({ token_hash: 'other' }) }), { use: 1 });
  assert.deepEqual(ask({ token: token({}), device: device({}), publicKey: 'thief' }), { refused: 'key-changed' });
  const allowed = device({ key_change_allowed: 1 });
  assert.deepEqual(ask({ token: token({}), device: allowed, publicKey: 'new' }), { use: 1 });
});

test('an unknown device is treated by policy, a known one by its key', () => {
  const ask = (policy: 'accept' | 'pending' | 'refuse', known?: DeviceRow, publicKey = 'k') =>
    decideAdmission({ device: known, publicKey, policy });
  assert.equal(ask('accept'), 'create-accepted');
  assert.equal(ask('pending'), 'create-pending');
  assert.deepEqual(ask('refuse'), { refused: 'unknown-device' });
  assert.equal(ask('refuse', device({})), 'known');
  assert.deepEqual(ask('accept', device({}), 'thief'), { refused: 'key-changed' });
  assert.equal(ask('refuse', device({ key_change_allowed: 1 }), 'new'), 'change-key');
});

test('only a verdict about a release marks it bad', () => {
  assert.equal(releaseFailed({ state: 'failed', release: 'a' }), 'a');
  assert.equal(releaseFailed({ state: 'rolled-back', release: 'a', from: 'b' }), 'b');
  assert.equal(releaseFailed({ state: 'blocked', release: 'a' }), null);
  assert.equal(releaseFailed({ state: 'failed' }), null);
});
