import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { collectDiagnostics } from './collector.ts';
import type { Diagnostic } from './diagnostic.ts';
import { formatDiagnostics } from './format.ts';
import { nearest } from './nearest.ts';

const fault: Diagnostic = { project: 'app', file: 'treeline.yaml', line: 2, column: 3, message: 'bad', hint: 'better' };

test('a fault is shown with its line, a caret and the hint', () => {
  assert.equal(
    formatDiagnostics([fault], 'a: 1\n\tbc: 2\n'),
    'treeline.yaml:2:3: bad (project app)\n  2 |  bc: 2\n    |   ^\n  hint: better',
  );
});

test('without the source, place and hint are shown', () => {
  assert.equal(formatDiagnostics([fault]), 'treeline.yaml:2:3: bad (project app)\n  hint: better');
  assert.equal(formatDiagnostics([fault], 'one line'), formatDiagnostics([fault]));
});

test('faults of several files find their own source', () => {
  const other: Diagnostic = { ...fault, project: 'model' };
  const text = formatDiagnostics([fault, other], ({ project }) => `\n${project}`);
  assert.match(text, /2 \| app\n[\s\S]*2 \| model$/m);
});

test('what a file holds cannot command the terminal', () => {
  const text = formatDiagnostics([{ ...fault, message: '\x1b[2Jgone\u202e' }], 'x\n\x1b[31mred\r\n');
  assert.doesNotMatch(text, /[\p{Cf}\r]|\p{Cc}\[/u);
});

test('a long line is cut around the fault, the caret still under it', () => {
  const line = `${'x'.repeat(5000)}!${'y'.repeat(5000)}`;
  const [, source, caret] = formatDiagnostics([{ ...fault, line: 1, column: 5001 }], line).split('\n');
  assert.ok(source!.length < 120);
  assert.equal(source!.indexOf('!'), caret!.indexOf('^'));
});

test('faults are told once, in the order of the file, and no more than a hundred', () => {
  const collector = collectDiagnostics();
  const file = { project: 'app', file: 'treeline.yaml' };
  collector.throwIfAny('invalid-pipeline');
  for (let line = 300; line > 0; line--) {
    collector.report(file, { line, column: 1 }, { message: 'bad' });
    collector.report(file, { line, column: 1 }, { message: 'bad' });
  }
  assert.throws(
    () => collector.throwIfAny('invalid-pipeline'),
    (error: { message: string; diagnostics: Diagnostic[] }) => {
      assert.match(error.message, /^app: treeline\.yaml:1:1: bad \(and 299 more\)$/);
      assert.equal(error.diagnostics.length, 100);
      return true;
    },
  );
});

const names = ['inputs', 'outputs', 'image', 'run', 'runs-on'];
for (const [text, meant] of [
  ['inptus', 'inputs'],
  ['output', 'outputs'],
  ['Image', 'image'],
  ['runs_on', 'runs-on'],
  ['rnu', 'run'],
  ['entirely-different', undefined],
  ['', undefined],
  ['x'.repeat(1e6), undefined],
] as const) {
  test(`"${text.slice(0, 20)}" is taken for ${meant ?? 'nothing'}`, () => assert.equal(nearest(text, names), meant));
}

test('a name with one letter wrong is found', () => {
  const name = fc.stringMatching(/^[a-z]{3,12}$/);
  fc.assert(
    fc.property(name, fc.nat(11), fc.stringMatching(/^[a-z]$/), (name, at, letter) => {
      const i = at % name.length;
      assert.equal(nearest(name.slice(0, i) + letter + name.slice(i + 1), [name]), name);
    }),
  );
});
