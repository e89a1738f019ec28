import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PipelineError } from '../diagnostic/diagnostic.ts';
import { formatDiagnostics } from '../diagnostic/format.ts';
import { parsePipeline } from './parse.ts';

/** Parses, and insists that it ends soon and, if at all, with diagnostics. */
function survive(text: string): PipelineError | undefined {
  const started = performance.now();
  try {
    parsePipeline(text, { project: 'p' });
    return undefined;
  } catch (error) {
    assert.ok(error instanceof PipelineError, String((error as Error).stack));
    assert.equal(error.code, 'invalid-pipeline');
    assert.ok(error.diagnostics.length > 0);
    formatDiagnostics(error.diagnostics, text);
    return error;
  } finally {
    assert.ok(performance.now() - started < 5000, 'takes too long');
  }
}

function bomb(levels: number): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i <= levels; i++)
    lines.push(
      `a${i}: &a${i} [${Array(9)
        .fill(`*a${i - 1}`)
        .join(', ')}]`,
    );
  return `${lines.join('\n')}\njobs: *a${levels}\n`;
}

test('aliases that multiply are stopped', () => {
  assert.match(survive(bomb(9))!.diagnostics[0]!.message, /more than 20000 values/);
});

test('an alias to what holds it is stopped', () => {
  assert.match(survive('jobs: &a { x: *a }')!.message, /nested too deeply|names an anchor/);
  assert.ok(survive('jobs: &a\n  b: { run: x, environment: *a }\n'));
});

const many = 30_000;
const deep: Record<string, string> = {
  'opened lists': `jobs: ${'['.repeat(many)}`,
  'opened maps': `jobs: ${'{a: '.repeat(many / 2)}`,
  'nested items': '- '.repeat(many),
  'nested keys': '? '.repeat(many),
  'closed lists': `jobs: ${'['.repeat(many)}${']'.repeat(many)}`,
  'indented maps': Array.from({ length: 600 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
};
for (const [what, text] of Object.entries(deep)) {
  test(`depth is limited: ${what}`, () => assert.match(survive(text)!.diagnostics[0]!.message, /nested too deeply/));
}

const long: Record<string, string> = {
  'many keys': Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`).join('\n'),
  'many keys in one job': `jobs: { a: { ${Array.from({ length: 15_000 }, (_, i) => `k${i}: 1`).join(', ')} } }`,
  'one key over and over': 'jobs: x\n'.repeat(15_000),
  anchors: `${'&a '.repeat(many)}x`,
  tags: `${'!a '.repeat(many)}x`,
  directives: '%a\n'.repeat(20_000),
  commas: `[${','.repeat(many)}]`,
  'an open quote': `a: "${'a\n'.repeat(many)}`,
  'a long name': `jobs: { ${'x'.repeat(200_000)}: { run: x } }`,
  'a long path': `jobs: { a: { run: x, outputs: { o: ${'a/'.repeat(100_000)} } } }`,
  'a long number': `jobs: { a: { run: x, timeout: ${'9'.repeat(200_000)}s, disk: ${'9'.repeat(10_000)} } }`,
  'a long duration': `jobs: { a: { run: x, timeout: "${'1 m '.repeat(50_000)}x" } }`,
  'a long image': `jobs: { a: { run: x, image: "${'a/'.repeat(100_000)}:" } }`,
  'a long dotted image': `jobs: { a: { run: x, image: "${'a.'.repeat(100_000)}" } }`,
  'many needs': `jobs: { a: { run: x, needs: [${Array.from({ length: 15_000 }, (_, i) => `a${i}`).join(', ')}] } }`,
};
for (const [what, text] of Object.entries(long)) {
  test(`length costs no more than it should: ${what}`, () => assert.ok(survive(text)));
}

test('a file that is too big is not read', () => {
  assert.match(survive(`# ${'x'.repeat(300_000)}`)!.message, /300002 characters/);
});

const sound = `
image: images/tools
environment: { A: &x "1" }
jobs:
  train: { runs-on: { arch: x86_64, gpu: true }, paths: [a, "b/**"], inputs: { i: app/p }, timeout: 5m, run: x, outputs: { m: . } }
  system:
    compose: [{ tree: m }, { source: config, at: /etc }, { remove: /doc }]
publish: [{ artifact: system, channel: robot/edge, after: [train] }]
`;

test('a sound file with some characters changed is refused or read, never worse', () => {
  assert.equal(survive(sound), undefined);
  const character = fc.oneof(
    fc.constantFrom(...'[]{}:,-?&*!|>\'"%@`#\n\t \\0aA/.~'),
    fc.string({ minLength: 1, maxLength: 1, unit: 'binary' }),
  );
  const edit = fc.record({ at: fc.nat(sound.length), cut: fc.nat(6), put: fc.array(character, { maxLength: 4 }) });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      let text = sound;
      for (const { at, cut, put } of edits) text = text.slice(0, at) + put.join('') + text.slice(at + cut);
      survive(text);
    }),
    { numRuns: 500 },
  );
});

test('any text is refused or read, never worse', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => void survive(text)),
    { numRuns: 1000 },
  );
});
