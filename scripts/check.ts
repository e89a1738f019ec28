import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';

// `npm run check [-- NAME…]`: everything that can be said about the code without running it. All checks run, also
// after one has failed, so that one look shows all there is to fix.

type Check = { name: string; command: string[]; fix?: string };

const checks: Check[] = [
  {
    name: 'lint',
    command: ['eslint', '--max-warnings=0', '.'],
  },
  { name: 'types', command: ['tsc', '-p', '.'] },
  {
    name: 'format',
    command: ['biome', 'check', '--linter-enabled=false', '--max-diagnostics=20', '.'],
    fix: 'npm run format',
  },
  { name: 'fast-lint', command: ['biome', 'lint', '--error-on-warnings', '--max-diagnostics=50', '.'] },
  { name: 'dead-code', command: ['knip', '--no-progress'] },
  // Every export of the package that is published says what it is.
  { name: 'docs', command: ['typedoc', '--options', 'packages/ostree/typedoc.json', '--emit', 'none'] },
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !checks.some((check) => check.name === name));
if (unknown.length > 0) {
  console.error(`No check is named ${unknown.join(', ')}. There are: ${checks.map((check) => check.name).join(', ')}.`);
  process.exit(2);
}

const chosen = checks.filter((check) => wanted.length === 0 || wanted.includes(check.name));
const waiting = [...chosen];
const outcomes = new Map<string, { code: number; seconds: number }>();
// Longest first, two at a time: type-aware lint and the compiler each keep a core busy and 0.5 GB of memory.
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));

console.log('');
for (const { name, fix } of chosen) {
  const { code, seconds } = outcomes.get(name) ?? { code: 1, seconds: 0 };
  const advice = code !== 0 && fix ? `   (to fix: ${fix})` : '';
  console.log(`${code === 0 ? '✔' : '✖'} ${name.padEnd(10)} ${seconds.toFixed(1).padStart(5)} s${advice}`);
}
const failed = chosen.filter(({ name }) => outcomes.get(name)?.code !== 0);
if (failed.length > 0) {
  console.log(`\n${failed.length} of ${chosen.length} checks failed. One alone: npm run check -- ${failed[0]?.name}`);
  process.exitCode = 1;
}

async function work(): Promise<void> {
  for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
    const began = performance.now();
    const { code, output } = await run(check.command);
    outcomes.set(check.name, { code, seconds: (performance.now() - began) / 1000 });
    // Printed in one piece, because another check is talking at the same time.
    if (code !== 0) console.log(`── ${check.name}: ${check.command.join(' ')}\n${output.trimEnd()}\n`);
  }
}

function run([program = '', ...parameters]: string[]): Promise<{ code: number; output: string }> {
  const color = process.stdout.isTTY && !process.env.NO_COLOR ? { FORCE_COLOR: '1' } : { NO_COLOR: '1' };
  const child = spawn(`node_modules/.bin/${program}`, parameters, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...color },
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: 1, output: `${program} could not start: ${error.message}` }));
    child.on('close', (code) => resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString('utf8') }));
  });
}
