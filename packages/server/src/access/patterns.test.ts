import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compilePattern, isInside, matchesPattern, Pattern } from './patterns.ts';

const matches = (pattern: string, subject: string) => matchesPattern(compilePattern(pattern), subject);
const inside = (inner: string, ...outer: string[]) => isInside(compilePattern(inner), outer.map(compilePattern));

test('a star stays in its part of a ref, two go on below, neither leaves the repository or channel it is in', () => {
  for (const [pattern, good, bad] of [
    ['robot/edge', ['robot/edge'], ['robot/edge2', 'robot', 'xrobot/edge', 'public:robot/edge']],
    ['robot/*', ['robot/edge', 'robot/'], ['robot/edge/arm', 'robot', 'robot/a:b']],
    ['robot/**', ['robot/edge', 'robot/edge/arm'], ['robot', 'robots/x', 'robot/a:b']],
    ['*/edge', ['robot/edge', '/edge'], ['a/robot/edge', 'public:robot/edge']],
    ['public:robot/**', ['public:robot/a/b'], ['robot/a', 'private:robot/a', 'public:car/a']],
    ['*:*', ['a:b'], ['a', 'a:b/c', 'a:b:c']],
    ['**', ['main', 'a/b/c', ''], ['a:b']],
    ['r*t/**/x*', ['robot/a/b/x1', 'rt//x'], ['robot/x', 'robot/a/b/y']],
    ['a.c', ['a.c'], ['abc']],
  ] as const) {
    for (const subject of good) assert.ok(matches(pattern, subject), `${pattern} ${subject}`);
    for (const subject of bad) assert.ok(!matches(pattern, subject), `${pattern} ${subject}`);
  }
});

test('one pattern is inside others exactly if they stand for all that it stands for', () => {
  for (const [inner, ...outer] of [
    ['robot/edge', 'robot/*'],
    ['robot/*', 'robot/**'],
    ['robot/*', 'robot/*'],
    ['robot/e*/arm', 'robot/**'],
    ['public:robot/edge', 'public:**'],
    ['robot/edge', 'car/*', 'robot/edge'],
    // Together they are everything below robot/ that has at most two parts.
    ['robot/a*', 'robot/b*', 'robot/a*'],
    ['*', '**'],
    ['**/x', '**'],
    ['a*b*', 'a*'],
  ] as const) {
    assert.ok(inside(inner, ...outer), `${inner} in ${outer.join(', ')}`);
  }
  for (const [inner, ...outer] of [
    ['robot/**', 'robot/*'],
    ['**', 'robot/**'],
    ['robot/*', 'robot/edge'],
    ['robot/*', 'robot/a*', 'robot/b*'],
    ['public:robot/*', 'robot/*'],
    ['*:*', 'public:*'],
    ['a*', 'a*b'],
    ['**:**', '**'],
    ['robot', 'robot/**'],
    ['x'],
  ] as const) {
    assert.ok(!inside(inner, ...outer), `${inner} in ${outer.join(', ')}`);
  }
});

const letters = fc.constantFrom('a', 'b', '/', ':');
const pattern = fc
  .array(fc.oneof(letters, fc.constantFrom('*', '**')), { minLength: 1, maxLength: 7 })
  .map((parts) => parts.join('').replaceAll(/\*{3,}/g, '**'))
  .filter((text) => Pattern.safeParse(text).success);

test('what is inside another never stands for more: compared with every short text', () => {
  const texts = ['', ...words(5)];
  fc.assert(
    fc.property(pattern, pattern, pattern, (inner, one, two) => {
      const more = texts.filter((text) => matches(inner, text) && !matches(one, text) && !matches(two, text));
      if (inside(inner, one, two)) assert.deepEqual(more, []);
      // The other way round only as far as the texts go.
      else if (inner.length < 4 && one.length < 4 && two.length < 4) assert.notDeepEqual(more, []);
    }),
    { numRuns: 100 },
  );
});

/** All texts of up to `length` letters of an alphabet that has one more than patterns use. */
function words(length: number): string[] {
  const alphabet = ['a', 'b', '/', ':', 'c'];
  let last = alphabet;
  const all = [...last];
  for (let i = 1; i < length; i += 1) {
    last = last.flatMap((word) => alphabet.map((letter) => word + letter));
    all.push(...last);
  }
  return all;
}

test('patterns that would take long to compare are refused or given up, and matching them is quick', () => {
  for (const bad of ['', 'a b', 'a\n', '***', 'a:b:c', '*a'.repeat(9), 'ä', 'a[b]', '?', 'x'.repeat(256), '\0']) {
    assert.ok(!Pattern.safeParse(bad).success, bad);
  }
  const worst = '**a*a**a*a**a*a**a*'.slice(0, 18);
  assert.ok(Pattern.safeParse(worst).success);
  const started = process.cpuUsage();
  assert.ok(!matches(worst, `${'a/'.repeat(10_000)}:`));
  inside(worst, worst, `${worst}b`, `b${worst}`, '**aaaaaaaa*');
  assert.ok(process.cpuUsage(started).user < 3_000_000);
});
