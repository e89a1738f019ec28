import { mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { RunnerError } from '../errors.ts';
import type { JobResult, JobSpec, Tree, Usage } from '../protocol.ts';
import type { Ending, Sandbox } from '../sandbox/sandbox.ts';
import type { HeldTree, TreeCache } from '../trees/cache.ts';
import { removeTree } from '../trees/remove.ts';
import { findOutput } from './outputs.ts';

/** The store, as far as a runner needs it. */
export interface JobStore {
  /** Writes a tree into `dest`, which does not exist yet. */
  checkout(tree: Tree, dest: string, signal: AbortSignal): Promise<void>;
  /** Stores folders, all or none; everything belongs to 0:0. */
  write(folders: Map<string, string>): Promise<Record<string, Tree>>;
}

export type JobMachine = { store: JobStore; trees: TreeCache; sandbox: Sandbox; jobsDir: string };

export type JobOptions = {
  onOutput: (chunk: Uint8Array) => Promise<void>;
  /** Adds a line of the runner's own to the log. */
  note: (line: string) => void;
  signal: AbortSignal;
};

/**
 * Runs a job: checks out what it needs, runs its script, stores its outputs. Never rejects: what is not the job's own
 * doing is an infrastructure failure. Leaves nothing behind but kept checkouts and objects in the store.
 */
export async function runJob(spec: JobSpec, machine: JobMachine, o: JobOptions): Promise<JobResult> {
  const held: HeldTree[] = [];
  let dir: string | null = null;
  try {
    for (const need of spec.emulated) o.note(emulationLine(need));
    if (machine.sandbox.kind === 'none') {
      o.note('this runner was started with --unsandboxed: the job can reach all that the runner can');
    }
    dir = await mkdtemp(join(machine.jobsDir, 'job-'));
    const begin = performance.now();
    const { image, inputs } = await prepare(spec, machine, { dir, held, signal: o.signal });
    const prepared = performance.now();
    o.signal.throwIfAborted();

    const ending = await machine.sandbox.run(
      {
        dir,
        image,
        inputs,
        command: spec.command,
        environment: spec.environment,
        network: spec.network,
        gpu: spec.gpu === true && !spec.emulated.includes('gpu'),
        limits: {
          timeoutSeconds: spec.timeoutSeconds,
          diskBytes: spec.diskBytes,
          ...(spec.memoryBytes === undefined ? {} : { memoryBytes: spec.memoryBytes }),
        },
      },
      { onOutput: o.onOutput, signal: o.signal },
    );
    const usage: Usage = {
      prepareSeconds: (prepared - begin) / 1000,
      runSeconds: ending.seconds,
      storeSeconds: 0,
      diskBytes: ending.diskBytes,
    };
    const failure = failureOf(ending, usage);
    if (failure) return failure;
    return await storeOutputs(spec, machine, { out: join(dir, 'out'), usage });
  } catch (error) {
    return { status: 'infrastructure', message: describe(error) };
  } finally {
    for (const tree of held) tree.release();
    if (dir !== null) await removeTree(dir).catch(() => {});
  }
}

/** The first line of a log says what this machine only pretends to have. */
function emulationLine(need: string): string {
  if (need === 'gpu') return 'this runner has no GPU and emulates one: the job runs on the CPU';
  return `this runner has no ${need} and emulates it: the job runs on what the runner has, ${process.arch}`;
}

async function prepare(
  spec: JobSpec,
  machine: JobMachine,
  o: { dir: string; held: HeldTree[]; signal: AbortSignal },
): Promise<{ image: string | null; inputs: Array<{ name: string; dir: string }> }> {
  const hold = async (tree: Tree): Promise<string> => {
    o.signal.throwIfAborted();
    const kept = await machine.trees.acquire(tree);
    o.held.push(kept);
    return kept.path;
  };
  const { image: wanted, source } = spec;
  const image = 'tree' in wanted ? await named('its image', () => hold(wanted.tree)) : null;
  const inputs: Array<{ name: string; dir: string }> = [];
  for (const { name, tree } of spec.inputs) {
    inputs.push({ name, dir: await named(`its input "${name}"`, () => hold(tree)) });
  }
  const src = join(o.dir, 'src');
  if (source) await named('its source', () => machine.store.checkout(source, src, o.signal));
  else await mkdir(src);
  await mkdir(join(o.dir, 'out'), { mode: 0o755 });
  await mkdir(join(o.dir, 'tmp'), { mode: 0o755 });
  return { image, inputs };
}

/** Says what of the job a checkout was for when it fails. */
async function named<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw new RunnerError('checkout-failed', `the runner could not check out ${what}`, { cause });
  }
}

function failureOf(ending: Ending, usage: Usage): JobResult | null {
  if (ending.kind === 'exited') {
    const { exitCode, note } = ending;
    if (exitCode === 0) return null;
    const signal = exitCode > 128 ? ` (signal ${exitCode - 128})` : '';
    const message = `the job's script ended with exit status ${exitCode}${signal}${note ? `: ${note}` : ''}`;
    return { status: 'failed', reason: 'exit', exitCode, message, usage };
  }
  const { why, message } = ending;
  if (why === 'no-space') return { status: 'infrastructure', message };
  if (why === 'timeout' || why === 'disk-full') return { status: 'failed', reason: why, message, usage };
  return { status: 'failed', reason: 'killed', message, usage };
}

async function storeOutputs(spec: JobSpec, machine: JobMachine, o: { out: string; usage: Usage }): Promise<JobResult> {
  const begin = performance.now();
  const folders = new Map<string, string>();
  for (const output of spec.outputs) {
    const found = await findOutput(o.out, output);
    if (found.kind !== 'found') {
      return { status: 'failed', reason: found.kind, message: found.message, usage: o.usage };
    }
    folders.set(output.name, found.folder);
  }
  const outputs = folders.size === 0 ? {} : await machine.store.write(folders);
  const storeSeconds = (performance.now() - begin) / 1000;
  return { status: 'passed', outputs, usage: { ...o.usage, storeSeconds } };
}

/** An error for the person who reads the run: with its causes, for the first is often only "could not". */
function describe(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (!parts.includes(at.message)) parts.push(at.message);
    if (at instanceof RunnerError && at.hint && at.cause === undefined) parts.push(at.hint);
  }
  return parts.join(': ') || String(error);
}
