import { hash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { inputOf } from './run.ts';
import { loadTargets } from './target.ts';
import type { WorkerMessage, WorkerOrder } from './worker.ts';

// `npm run fuzz -- --mutations 1000000`: feeds mutated samples of every format to what reads them. A worker does it;
// this thread watches the clock and the memory of the process, which a worker that hangs could not.

const usage = `Usage: npm run fuzz -- [--mutations N] [--seed TEXT] [--format TEXT]… [--save FOLDER]

  --mutations N   inputs in all (100000); those that go through a disk or a network get fewer
  --seed TEXT     another seed gives other inputs, the same seed the same ones (1)
  --format TEXT   only targets whose name contains one of these
  --save FOLDER   where inputs that were not taken well are kept (packages/ostree/src/testing/fuzz/corpus)

Fails when a target throws anything but OstreeError, works for over 5 s or takes 600 MB, accepts what it would write in another
way, or makes a file outside of its folder. Exit codes: 0 none did, 1 one did, 2 usage.`;

/** Of the processor, so that other load on the machine does not count; and of waiting for what never comes. */
const LIMIT_CPU_MS = 5000;
const LIMIT_WAIT_MS = 60_000;
const LIMIT_BYTES = 600e6;

const { mutations, seed, only, save } = readArguments();
const base = mkdtempSync(join(tmpdir(), 'treeline-fuzz-'));
const scratch = { base, inside: join(base, 'inside') };
mkdirSync(scratch.inside);
const progress = new Int32Array(new SharedArrayBuffer(8)).fill(-1);
let faults = 0;
let peak = 0;
const total = { inputs: 0, accepted: 0 };
const began = performance.now();

console.log(`Seed ${seed}, ${mutations} inputs.\n`);
console.log('target                          inputs  accepted   refused       s  slowest ms');
const order: WorkerOrder = { seed, mutations, only, scratch, progress: progress.buffer };
const worker = new Worker(new URL('./worker.ts', import.meta.url), {
  workerData: order,
  execArgv: [],
  resourceLimits: { maxOldGenerationSizeMb: 512 },
});
const watch = setInterval(look, 100);
let last = { target: -1, input: -1, since: performance.now(), cpu: cpuMs() };
await new Promise<void>((resolve) => {
  worker.on('message', (message: WorkerMessage) => {
    if (message.kind === 'end') return resolve();
    if (message.kind === 'fault') return report(message.target, Buffer.from(message.input), message.what);
    total.inputs += message.inputs;
    total.accepted += message.accepted;
    const { target, inputs, accepted, seconds, slowest } = message;
    const cells = [inputs, accepted, inputs - accepted, seconds.toFixed(1), slowest.toFixed(0)];
    const widths = [9, 10, 10, 8, 12];
    console.log(target.padEnd(29) + cells.map((cell, index) => String(cell).padStart(widths[index]!)).join(''));
  });
  worker.on('error', (error) => void reportCurrent(`the thread died: ${error.message}`).then(resolve));
});
clearInterval(watch);
await worker.terminate();
rmSync(base, { recursive: true, force: true });
const seconds = (performance.now() - began) / 1000;
console.log(
  `\n${total.inputs} inputs in ${seconds.toFixed(0)} s, ${total.accepted} accepted; at most ${(peak / 1e6).toFixed(0)} MB; ` +
    `${faults === 0 ? 'no fault' : `${faults} faults`}.`,
);
process.exit(faults === 0 ? 0 : 1);

function look(): void {
  const bytes = process.memoryUsage.rss();
  peak = Math.max(peak, bytes);
  const [target, input] = [Atomics.load(progress, 0), Atomics.load(progress, 1)];
  if (target !== last.target || input !== last.input) {
    last = { target, input, since: performance.now(), cpu: cpuMs() };
  }
  const [waited, worked] = [performance.now() - last.since, cpuMs() - last.cpu];
  const tooSlow = target >= 0 && (worked > LIMIT_CPU_MS || waited > LIMIT_WAIT_MS);
  if (!tooSlow && bytes < LIMIT_BYTES) return;
  clearInterval(watch);
  const seconds = `${(worked / 1000).toFixed(1)} s of work, ${(waited / 1000).toFixed(1)} s in all`;
  const what = tooSlow ? `it has no end: ${seconds}` : `the process takes ${(bytes / 1e6).toFixed(0)} MB`;
  void reportCurrent(what).then(() => process.exit(1));
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Says which input the worker is at: it is made again from its number. */
async function reportCurrent(what: string): Promise<void> {
  const [index, input] = [Atomics.load(progress, 0), Atomics.load(progress, 1)];
  const again = mkdtempSync(join(tmpdir(), 'treeline-fuzz-'));
  const inside = join(again, 'inside');
  mkdirSync(inside);
  const target = (await loadTargets({ base: again, inside }, only))[index];
  rmSync(again, { recursive: true, force: true });
  if (target) report(target.name, inputOf(target, seed, input), what);
}

function report(target: string, input: Buffer, what: string): void {
  faults++;
  const folder = join(save, target);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, hash('sha256', input).slice(0, 16));
  writeFileSync(file, input);
  console.log(`\nFAULT in ${target}, kept as ${relative(process.cwd(), file)}\n${what}\n`);
}

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        mutations: { type: 'string', default: '100000' },
        seed: { type: 'string', default: '1' },
        format: { type: 'string', multiple: true, default: [] as string[] },
        save: { type: 'string', default: join(import.meta.dirname, 'corpus') },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const number = Number(values.mutations);
    if (!Number.isSafeInteger(number) || number < 1) throw new TypeError(`--mutations ${values.mutations}`);
    return { mutations: number, seed: values.seed, only: values.format, save: values.save };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}
