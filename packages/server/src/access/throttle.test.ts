import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createThrottle } from './throttle.ts';

function setUp() {
  let now = 1_000_000;
  const throttle = createThrottle(() => now);
  const fail = (key: string, times: number) => {
    for (let i = 0; i < times; i += 1) throttle.failed(key);
  };
  return { throttle, fail, pass: (ms: number) => (now += ms) };
}

test('the first failures cost nothing, then each doubles the wait, up to a minute', () => {
  const { throttle, fail, pass } = setUp();
  fail('a', 5);
  assert.equal(throttle.wait('a'), 0);
  const waits: number[] = [];
  for (let i = 0; i < 9; i += 1) {
    fail('a', 1);
    waits.push(throttle.wait('a') / 1000);
    pass(throttle.wait('a'));
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
  assert.equal(throttle.wait('b'), 0);
});

test('a key that has been quiet for a quarter of an hour is as good as new', () => {
  const { throttle, fail, pass } = setUp();
  fail('a', 20);
  pass(16 * 60_000);
  fail('a', 5);
  assert.equal(throttle.wait('a'), 0);
});

test('a million keys do not take more memory than ten thousand', () => {
  const { throttle, fail } = setUp();
  fail('old', 10);
  for (let i = 0; i < 10_000; i += 1) throttle.failed(`key ${i}`);
  assert.equal(throttle.wait('old'), 0);
  throttle.succeeded('good');
  for (let i = 0; i < 10_000; i += 1) throttle.succeeded(`key ${i}`);
  assert.ok(!throttle.hasSucceeded('good'));
  assert.ok(throttle.hasSucceeded('key 9999'));
});
