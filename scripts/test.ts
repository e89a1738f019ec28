import { spawn } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { addTotals, closingLines, emptyTotals, type Totals } from './test-totals.ts';

// `npm test [-- FILE… --flags…]`: node:test over all test files, side by side, then one at a time over those that need
// the machine: many programs at once, or many gigabytes. node:test takes the files by name, so that the long end-to-end
// ones come early and the short ones fill up at the end.

const alone = ['kill', 'large-file', 'retention', 'torture/torture'].map((name) => `e2e/${name}.test.ts`);
const patterns = ['packages/*/src', 'scripts', 'bench', 'examples', 'e2e'].map((folder) => `${folder}/**/*.test.ts`);
const all = patterns.flatMap((pattern) => globSync(pattern, { exclude: (path) => path.endsWith('node_modules') }));
const passes = [
  {
    name: 'side by side',
    all: all.filter((file) => !alone.includes(file)),
    concurrency: Math.min(availableParallelism(), 8),
  },
  { name: 'one at a time', all: alone, concurrency: 1 },
];

const given = process.argv.slice(2);
const flags = given.filter((argument) => argument.startsWith('-'));
const chosen = given.filter((argument) => !argument.startsWith('-')).flatMap((pattern) => filesOf(pattern));
if (given.length > flags.length && chosen.length === 0) {
  console.error(`No test file matches ${given.filter((argument) => !argument.startsWith('-')).join(' ')}.`);
  console.error('Name test files, folders or glob patterns; flags of node --test go on as they are.');
  process.exit(2);
}

const notes = mkdtempSync(join(tmpdir(), 'treeline-test-'));
const began = performance.now();
let totals: Totals = emptyTotals();
let exitCode = 0;
for (const { name, all, concurrency } of passes) {
  const files = all.filter((file) => chosen.length === 0 || chosen.includes(file)).sort();
  if (files.length === 0) continue;
  console.log(`${name}: ${files.length} files, ${concurrency} at a time`);
  const note = join(notes, 'totals.json');
  const code = await runTests(files, concurrency, note);
  if (code !== 0) exitCode = code;
  totals = addTotals(totals, readTotals(note));
  rmSync(note, { force: true });
  console.log('');
}
rmSync(notes, { recursive: true, force: true });
if (totals.failures.length > 0) console.log(`Failed:\n${totals.failures.map((one) => `  ${one}`).join('\n')}\n`);
for (const line of closingLines(totals, performance.now() - began)) console.log(line);
process.exitCode = exitCode;

function filesOf(pattern: string): string[] {
  const path = pattern.replace(/^\.\//, '').replace(/\/$/, '');
  return path.endsWith('.ts') ? globSync(path) : globSync(`${path}/**/*.test.ts`);
}

function readTotals(note: string): Totals {
  try {
    return JSON.parse(readFileSync(note, 'utf8')) as Totals;
  } catch {
    return { ...emptyTotals(), failed: 1, failures: ['the test runner itself died, see above'] };
  }
}

function runTests(files: string[], concurrency: number, note: string): Promise<number> {
  const nodeFlags = [
    '--test',
    `--test-concurrency=${concurrency}`,
    // More than twice what the longest takes on a busy machine; a test may name a limit of its own.
    '--test-timeout=600000',
    '--import=./scripts/test-ending.ts',
    ...(flags.some((flag) => flag.startsWith('--test-reporter')) ? [] : ['--test-reporter=./scripts/test-reporter.ts']),
    ...flags,
  ];
  const child = spawn(process.execPath, [...nodeFlags, ...files], {
    stdio: 'inherit',
    env: {
      // Each test file is a process that loads much of Treeline, and so are the commands that it starts.
      NODE_COMPILE_CACHE: resolve('.cache/node'),
      ...process.env,
      TREELINE_TEST_TOTALS: note,
      TREELINE_TEST_FILES: String(files.length),
    },
  });
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  process.on('SIGTERM', forward);
  process.on('SIGHUP', forward);
  process.on('SIGINT', forward);
  return new Promise((resolve) => {
    child.on('error', (error) => {
      console.error(`node --test could not start: ${error.message}`);
      resolve(1);
    });
    child.on('exit', (code, signal) => {
      for (const name of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) process.off(name, forward);
      if (signal) process.exit(1);
      resolve(code ?? 1);
    });
  });
}
