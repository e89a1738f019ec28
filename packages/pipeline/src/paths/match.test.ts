import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { matchPaths } from './match.ts';

const table: [pattern: string, matching: string[], other: string[]][] = [
  ['train.py', ['train.py', '/train.py'], ['a/train.py', 'train.pyc', 'Train.py']],
  ['data', ['data', 'data/a', 'data/a/b'], ['database', 'x/data', 'dat']],
  ['data/', ['data/a', 'data/a/b'], ['data', 'database/a']],
  ['data/**', ['data/a', 'data/a/b'], ['data', 'database/a']],
  ['*.py', ['a.py', '.py'], ['a/b.py', 'a.pyc', 'a.py/b']],
  ['**/*.py', ['a.py', 'a/b.py', 'a/b/c.py'], ['a.pyc', 'a.py/b']],
  ['src/*', ['src/a'], ['src', 'src/a/b']],
  ['src/*/test', ['src/a/test', 'src/a/test/b'], ['src/test', 'src/a/b/test']],
  ['a/**/b', ['a/b', 'a/x/b', 'a/x/y/b', 'a/b/c'], ['a', 'b', 'a/x', 'x/a/b']],
  ['a/**/**/b', ['a/b', 'a/x/b'], ['a/x']],
  ['**', ['a', 'a/b'], []],
  ['.', ['a', 'a/b'], []],
  ['./src', ['src/a'], ['a']],
  ['?.c', ['a.c', '🤖.c'], ['.c', 'ab.c', '/.c']],
  ['a*b*c', ['abc', 'aXbXc', 'abcbc'], ['ab', 'acb', 'aXbXcX']],
  ['a**b', ['ab', 'axb'], ['a/b', 'a/x/b']],
  ['[ab].c', ['[ab].c'], ['a.c']],
];

for (const [pattern, matching, other] of table) {
  test(`the pattern ${pattern}`, () => {
    const match = matchPaths([pattern]);
    for (const path of matching) assert.equal(match(path), true, `should match ${path}`);
    for (const path of other) assert.equal(match(path), false, `should not match ${path}`);
  });
}

test('any of several patterns is enough; none matches nothing', () => {
  const match = matchPaths(['a.c', 'b']);
  assert.deepEqual(
    ['a.c', 'b/x', 'c'].map((path) => match(path)),
    [true, true, false],
  );
  assert.equal(matchPaths([])('a'), false);
});

test('a folder is kept as long as something below it may match', () => {
  const match = matchPaths(['src/*.c', 'data/**', 'a/**/z']);
  const answers = ['', '/', 'src', 'src/deep', 'data', 'data/x/y', 'a', 'a/b/c', 'docs'].map((path) =>
    match(path, true),
  );
  assert.deepEqual(answers, [true, true, true, false, true, true, true, true, false]);
});

test('a folder that holds a match is never left out', () => {
  const segment = fc.stringMatching(/^[ab]{1,2}$/);
  const part = fc.oneof(segment, fc.constantFrom('*', '**', '?', 'a*', '*b'));
  fc.assert(
    fc.property(
      fc.array(part, { minLength: 1, maxLength: 5 }),
      fc.array(segment, { minLength: 1, maxLength: 5 }),
      (parts, path) => {
        const match = matchPaths([parts.join('/')]);
        if (!match(path.join('/'))) return;
        for (let depth = 1; depth < path.length; depth++) {
          assert.equal(match(path.slice(0, depth).join('/'), true), true);
        }
      },
    ),
  );
});

test('agrees with the regular expression that says the same', () => {
  const segment = fc.stringMatching(/^[ab]{1,3}$/);
  const part = fc.oneof(segment, fc.constantFrom('*', '**', '?', 'a*', '*b', '?b*'));
  fc.assert(
    fc.property(
      fc.array(part, { minLength: 1, maxLength: 5 }),
      fc.array(segment, { minLength: 1, maxLength: 6 }),
      (parts, path) => {
        const expression = parts
          .map((word, i) => {
            const last = i === parts.length - 1;
            if (word === '**') return last ? '(?:[^/]+/)+' : '(?:[^/]+/)*';
            const one = `${word.replaceAll('?', '[^/]').replaceAll('*', '[^/]*')}/`;
            return last && !/[*?]/.test(word) ? `${one}(?:[^/]+/)*` : one;
          })
          .join('');
        const expected = new RegExp(`^${expression}$`).test(`${path.join('/')}/`);
        assert.equal(
          matchPaths([parts.join('/')])(path.join('/')),
          expected,
          `${parts.join('/')} on ${path.join('/')}`,
        );
      },
    ),
    { numRuns: 500 },
  );
});

test('hostile patterns cost no more than their length asks for', () => {
  const started = performance.now();
  assert.equal(matchPaths([`${'*a'.repeat(400)}b`])('a'.repeat(2000)), false);
  assert.equal(matchPaths([`${'**/a/'.repeat(200)}b`])('a/'.repeat(500)), false);
  assert.equal(matchPaths([`${'**/*a*/'.repeat(100)}b`])('aaaa/'.repeat(500)), false);
  assert.ok(performance.now() - started < 2000);
});
