import { globSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { runSuite } from './harness.ts';
import { describeMachine } from './machine.ts';
import type { Suite } from './suite.ts';
import { table } from './table.ts';

const folder = import.meta.dirname;
const suites = globSync('suites/*.ts', { cwd: folder })
  .filter((path) => !path.endsWith('.test.ts'))
  .map((path) => basename(path, '.ts'))
  .sort();

const usage = `Usage: npm run bench -- SUITE [--json] [--runs N] [--only TEXT]… [--keep] [--small]

Suites: ${suites.join(', ')}

  --json        print an array of {measure, unit, ours, theirs, peer, ratio, goal, runs} instead of a table
  --runs N      pairs of each measure (5)
  --only TEXT   only measures whose name contains TEXT; may be repeated
  --keep        keep the scratch folder, so that the next run need not gather the tree again
  --small       tiny inputs: to see whether the suite works, not to measure anything

The scratch folder is .cache/bench/SUITE, or $TREELINE_BENCH_DIR/SUITE; it must be on a real disk, not a tmpfs.
Exit codes: 0 all was measured (a missed goal is marked, not an error), 1 something could not be measured, 2 usage.`;

const { values, positionals } = readArguments();
const [name = '', ...rest] = positionals;
const runs = Number(values.runs);
if (values.help) {
  console.log(usage);
  process.exit(0);
}
if (!suites.includes(name)) fail(name ? `there is no suite named ${name}` : 'which suite?');
if (rest.length > 0) fail(`one suite at a time; ${rest.join(' ')} is too much`);
if (!Number.isInteger(runs) || runs < 1) fail(`--runs takes a whole number from 1, not ${values.runs}`);

const interruption = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => interruption.abort(new DOMException(`ended by ${signal}`, 'AbortError')));
}

const scratch = join(
  resolve(process.env.TREELINE_BENCH_DIR ?? join(folder, '../.cache/bench')),
  values.small ? `${name}-small` : name,
);
await mkdir(scratch, { recursive: true });
const machine = await describeMachine(scratch);
// A file per suite, so that a new one needs no change here.
const { suite } = (await import(`./suites/${name}.ts`)) as { suite: Suite };
console.error(`${suite.title}\n${machine}\n`);

try {
  const began = performance.now();
  const report = await runSuite(suite, {
    scratch,
    machine,
    runs,
    only: values.only,
    keepScratch: values.keep,
    small: values.small,
    say: (text) => console.error(`[${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s] ${text}`),
    signal: interruption.signal,
  });
  console.error('');
  if (values.json) {
    console.log(JSON.stringify(report.rows, null, 2));
  } else {
    console.log(table(report.rows));
    console.log(`\nMedians of paired runs, ours and the peer's in turn; the ratio is peer / Treeline.\nOn ${machine}.`);
  }
  for (const remark of report.remarks) (values.json ? console.error : console.log)(remark);
  if (report.failed) process.exitCode = 1;
} catch (error) {
  if (!interruption.signal.aborted) throw error;
  console.error('Interrupted; the scratch folder is removed.');
  process.exitCode = 130;
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        runs: { type: 'string', default: '5' },
        only: { type: 'string', multiple: true, default: [] },
        keep: { type: 'boolean', default: false },
        small: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    fail(error instanceof Error ? error.message : String(error));
  }
}

function fail(message: string): never {
  console.error(`bench: ${message}\n\n${usage}`);
  process.exit(2);
}
