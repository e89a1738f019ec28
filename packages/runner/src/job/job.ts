import { mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { RunnerError } from '../errors.ts';
import type { JobResult, JobSpec, Tree, Usage } from '../protocol.ts';
import type { Ending, Sandbox } from '../sandbox/sandbox.ts';
import type { HeldTree, TreeCache } from '../trees/cache.ts';
import { removeTree } from '../trees/remove.ts';
import type { RootFiles } from './root-files.ts';
import type { JobStore } from './store.ts';
import { storeOutputs } from './store-outputs.ts';

export type JobMachine = {
  store: JobStore;
  trees: TreeCache;
  sandbox: Sandbox;
  /** Null where jobs cannot be root. */
  rootFiles: RootFiles | null;
  jobsDir: string;
};

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
    if (spec.root) rootFilesOf(machine);
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
        root: spec.root === true,
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
    return await outputsOf(spec, machine, { out: join(dir, 'out'), usage });
  } catch (error) {
    return { status: 'infrastructure', message: describe(error) };
  } finally {
    for (const tree of held) tree.release();
    if (dir !== null) await removeJob(spec, machine, dir).catch(() => {});
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
  // A root job sees what its image and inputs belong to; to any other job everything belongs to somebody else.
  const owners = spec.root ? 'own' : 'runner';
  const hold = async (tree: Tree): Promise<string> => {
    o.signal.throwIfAborted();
    const kept = await machine.trees.acquire(tree, owners);
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
  if (source) await named('its source', () => machine.store.checkout(source, src, { signal: o.signal }));
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

async function outputsOf(spec: JobSpec, machine: JobMachine, o: { out: string; usage: Usage }): Promise<JobResult> {
  const begin = performance.now();
  const wanted = { out: o.out, outputs: spec.outputs };
  const stored = await (spec.root ? rootFilesOf(machine).storeOutputs(wanted) : storeOutputs(machine.store, wanted));
  if (stored.kind !== 'stored') {
    return { status: 'failed', reason: stored.kind, message: stored.message, usage: o.usage };
  }
  const storeSeconds = (performance.now() - begin) / 1000;
  return { status: 'passed', outputs: stored.outputs, usage: { ...o.usage, storeSeconds } };
}

async function removeJob(spec: JobSpec, machine: JobMachine, dir: string): Promise<void> {
  await (spec.root && machine.rootFiles ? machine.rootFiles.remove(dir) : removeTree(dir));
}

function rootFilesOf(machine: JobMachine): RootFiles {
  if (machine.rootFiles) return machine.rootFiles;
  const { root } = machine.sandbox;
  const lacks = 'lacks' in root ? root.lacks : 'it was not asked for';
  throw new RunnerError('no-sandbox', `this machine cannot run jobs as root: ${lacks}`);
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
