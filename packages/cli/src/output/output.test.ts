import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { formatBytes } from './bytes.ts';
import { formatAge, formatDuration } from './duration.ts';
import { formatTable } from './table.ts';
import { cellWidth, manyLines, oneLine, shorten, wrap } from './text.ts';

test('sizes read as a person would say them', () => {
  const said = [0, 812, 999, 1000, 1449, 9_949, 9_951, 23_000_000, 999_600_000, 3e9].map(formatBytes);
  assert.deepEqual(said, ['0 B', '812 B', '999 B', '1.0 kB', '1.4 kB', '9.9 kB', '10 kB', '23 MB', '1.0 GB', '3.0 GB']);
});

test('spans and ages read as a person would say them', () => {
  assert.deepEqual([0, 440, 9_949, 59_400, 59_600, 65_000, 7_380_000, 100 * 3_600_000].map(formatDuration), [
    '0.0 s',
    '0.4 s',
    '9.9 s',
    '59 s',
    '1 m 00 s',
    '1 m 05 s',
    '2 h 03 m',
    '4 d 04 h',
  ]);
  assert.deepEqual(
    [0, 30_000, 300_000, 7_200_000, 864_000_000].map((age) => formatAge(1e12, 1e12 + age)),
    ['now', '30 s ago', '5 m ago', '2 h ago', '10 d ago'],
  );
});

test('a table is cut to the terminal where it may be, and is whole when piped', () => {
  const columns = [{ header: 'job' }, { header: 'why', shrink: true }];
  const rows = [
    ['model/train', 'the source tree changed: train.py'],
    ['app/test', '模型 changed'],
  ];
  const narrow = formatTable(columns, rows, { width: 30 }).split('\n');
  assert.ok(
    narrow.every((line) => cellWidth(line) <= 30),
    narrow.join('\n'),
  );
  assert.match(narrow[1]!, /^model\/train {2}the source.*…$/);
  const piped = formatTable(columns, rows, { width: Number.POSITIVE_INFINITY });
  assert.match(piped, /the source tree changed: train\.py/);
  assert.match(piped, /app\/test {5}模型 changed/);
});

test('a table refuses cells that are missing instead of printing undefined', () => {
  const missing = undefined as unknown as string;
  assert.throws(() => formatTable([{ header: 'a' }], [[missing]]), TypeError);
});

test('text that is shortened or wrapped keeps within its cells', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, cells) => {
      const line = oneLine(text);
      assert.ok(cellWidth(shorten(line, cells)) <= cells);
      assert.ok(cellWidth(shorten(line, cells, 'end')) <= cells);
      assert.equal(wrap(line, cells).join(' '), line);
    }),
  );
});

test('names and logs cannot drive the terminal', () => {
  assert.equal(oneLine('a\x1b[2J\x1b]0;title\x07b\nc\u202ed'), 'ab c\ufffdd');
  assert.equal(
    manyLines('one\x1b[2J\x1b]0;title\x07\r\ntwo \x1b[31mred\x1b[0m\x1bc\x9b'),
    'one\ntwo \x1b[31mred\x1b[0m',
  );
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.doesNotMatch(oneLine(`\x1b[${text}`), /\p{Cc}/u);
      const log = manyLines(`\x1b${text}`);
      assert.doesNotMatch(stripVTControlCharacters(log).replace(/[\t\n\r]/g, ''), /\p{Cc}/u);
    }),
  );
});
