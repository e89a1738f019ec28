import { execFile, spawn } from 'node:child_process';
import { readdir, readFile, realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { z } from 'zod';
import { RunnerError } from '../errors.ts';
import { sandboxAdvice } from './advice.ts';
import type { BubblewrapPlan, Mount } from './arguments.ts';
import { bubblewrapArguments, SANDBOX_UID } from './arguments.ts';
import { readInside } from './inside.ts';
import { launchArguments, openOutputPipe } from './launch.ts';
import { hostLayout, imageLayout, unreadableByOthers } from './layout.ts';
import { killUntilGone, processStat } from './processes.ts';
import { asOwnerOfAll, rootCommand, Stage } from './root-entry.ts';
import { findRootIds, type RootIds } from './root-ids.ts';
import type { Ending, RunOptions, Sandbox, SandboxJob } from './sandbox.ts';
import { jobEnvironment, SANDBOX_PLACES } from './sandbox.ts';
import type { Started } from './supervise.ts';
import { folders, supervise } from './supervise.ts';
import { type DiskUsage, diskUsage } from './usage.ts';

const run = promisify(execFile);

const SHARED_MEMORY_BYTES = 512 * 1024 ** 2;
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';
const STATUS_FD = 3;
const ARGUMENTS_FD = 4;

/**
 * A sandbox of namespaces made by bubblewrap, for root and for any user. Throws RunnerError `no-sandbox` when this
 * machine cannot make one.
 */
export async function openBubblewrap(): Promise<Sandbox> {
  await probe();
  const root = await openRoot();
  // A file that only root may read is no secret from a job of a runner that is root.
  const hidden = process.getuid?.() === 0 ? await unreadableByOthers() : [];
  return { kind: 'bubblewrap', root, run: (job, options) => runSandboxed(job, { hidden, root, options }) };
}

/** Whether jobs can be root here: tried, not only looked up, since kernels and containers forbid it in many ways. */
async function openRoot(): Promise<Sandbox['root']> {
  const ids = await findRootIds();
  if ('lacks' in ids) return ids;
  for (const tool of ['setpriv', 'unshare', 'mount', ...(ids.runnerIsRoot ? [] : ['newuidmap', 'newgidmap'])]) {
    const found = await run('/bin/sh', ['-c', `command -v ${tool}`]).catch(() => null);
    if (!found) return { lacks: `${tool} is not installed (${packageOf(tool)})` };
  }
  const stage = new Stage();
  const args = bubblewrapArguments({ ...(await probePlan()), stage });
  const [program = '', ...rest] = rootCommand(ids, stage, ['bwrap', ...args, '--', '/bin/sh', '-c', ':']);
  try {
    await run(program, rest, { timeout: 20_000 });
    return ids;
  } catch (error) {
    const { stderr = '', message } = error as { stderr?: string; message: string };
    return { lacks: `no user namespace with ids of its own can be made: ${complaint(stderr) || message}` };
  }
}

function packageOf(tool: string): string {
  return tool.startsWith('new') ? 'apt-get install uidmap' : 'apt-get install util-linux mount';
}

async function probe(): Promise<void> {
  const hint =
    "run `apt-get install bubblewrap` (or your distribution's like) and allow user namespaces; to run jobs without any sandbox, start with --unsandboxed";
  const args = bubblewrapArguments(await probePlan());
  try {
    await run('bwrap', [...args, '--', '/bin/sh', '-c', ':'], { timeout: 20_000 });
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    const message =
      code === 'ENOENT'
        ? 'bubblewrap is not installed, so there is no sandbox to run jobs in'
        : `bubblewrap does not work on this machine, so there is no sandbox to run jobs in: ${complaint(stderr ?? '')}`;
    throw new RunnerError('no-sandbox', message, { hint, cause: error });
  }
}

async function probePlan(): Promise<BubblewrapPlan> {
  return {
    image: await hostLayout([]),
    mounts: [
      { kind: 'proc', at: '/proc' },
      { kind: 'dev', at: '/dev' },
    ],
    environment: {},
    network: false,
    devices: [],
    sharedMemoryBytes: SHARED_MEMORY_BYTES,
    chdir: '/',
    statusFd: 2,
  };
}

type Hidden = Array<{ path: string; kind: 'dir' | 'file' }>;

async function runSandboxed(
  job: SandboxJob,
  { hidden, root, options }: { hidden: Hidden; root: Sandbox['root']; options: RunOptions },
): Promise<Ending> {
  const plan = await planJob(job, hidden);
  const baseline = await diskUsage(folders(job.dir));
  options.signal.throwIfAborted();
  const command = ['bwrap', '--args', `${ARGUMENTS_FD}`, '--', '/bin/sh', '-eu', '/job.sh'];
  const watched = { dir: job.dir, baselineBytes: baseline.bytes, limits: job.limits, ...options };
  if (!job.root) return await supervise(await start(command, bubblewrapArguments(plan), job), watched);

  if ('lacks' in root) throw new RunnerError('no-sandbox', `this machine cannot run jobs as root: ${root.lacks}`);
  const stage = new Stage();
  const args = bubblewrapArguments({ ...plan, stage });
  const started = await start(rootCommand(root, stage, command), args, job);
  return await supervise(started, { ...watched, measure: measureAs(root) });
}

const USAGE_PROGRAM = fileURLToPath(new URL('./usage-program.ts', import.meta.url));

/** Measures the folders of a root job, which may be closed to a runner that is not root. */
function measureAs(ids: RootIds): typeof diskUsage {
  if (ids.runnerIsRoot) return diskUsage;
  return async (paths, { signal, enough = Number.POSITIVE_INFINITY } = {}) => {
    const counted = Number.isFinite(enough) ? `${enough}` : 'all';
    const [program = '', ...args] = asOwnerOfAll(ids, [process.execPath, USAGE_PROGRAM, counted, ...paths]);
    const { stdout } = await run(program, args, signal ? { signal } : {});
    return JSON.parse(stdout) as DiskUsage;
  };
}

async function planJob(job: SandboxJob, hidden: Hidden): Promise<BubblewrapPlan> {
  const script = join(job.dir, 'job.sh');
  await writeFile(script, job.command);
  const mounts: Mount[] = [
    { kind: 'proc', at: '/proc' },
    { kind: 'dev', at: '/dev' },
    { kind: 'empty', at: '/in' },
    { kind: 'ro', at: '/job.sh', source: script, type: 'file' },
    ...folders(job.dir).map((source): Mount => ({ kind: 'rw', at: source.slice(job.dir.length), source, type: 'dir' })),
    ...job.inputs.map(({ name, dir }): Mount => ({ kind: 'ro', at: `/in/${name}`, source: dir, type: 'dir' })),
    ...(await settingsMounts(job)),
  ];
  if (job.image === null) {
    for (const { path, kind } of hidden) {
      if (kind === 'dir') mounts.push({ kind: 'empty', at: path });
      else mounts.push({ kind: 'ro', at: path, source: '/dev/null', type: 'file' });
    }
  }
  const paths = mounts.map((mount) => mount.at);
  const image = job.image === null ? await hostLayout(paths) : await imageLayout(job.image, paths);
  return {
    image,
    mounts,
    environment: jobEnvironment(job.environment, SANDBOX_PLACES),
    network: job.network,
    devices: job.gpu ? await gpuDevices() : [],
    sharedMemoryBytes: SHARED_MEMORY_BYTES,
    chdir: '/src',
    statusFd: STATUS_FD,
  };
}

/** The few files below /etc that a job needs and an image may lack: its own user, and with network how to reach it. */
async function settingsMounts(job: SandboxJob): Promise<Mount[]> {
  const root = job.image ?? '/';
  const read = async (name: string): Promise<string | null> =>
    (await readInside(root, `etc/${name}`)) ?? (await readInside(root, `usr/etc/${name}`));
  const mounts: Mount[] = [];
  const place = async (name: string, text: string): Promise<void> => {
    const source = join(job.dir, `etc-${name}`);
    await writeFile(source, text);
    mounts.push({ kind: 'ro', at: `/etc/${name}`, source, type: 'file' });
  };
  if (job.root) {
    // Whatever else an image has for users: of the sandbox's own there is none.
    if ((await read('passwd')) === null) await place('passwd', 'root:x:0:0:root:/tmp:/bin/sh\n');
    if ((await read('group')) === null) await place('group', 'root:x:0:\n');
  } else {
    await place('passwd', withUser(await read('passwd'), `job:x:${SANDBOX_UID}:${SANDBOX_UID}:job:/tmp:/bin/sh`));
    await place('group', withUser(await read('group'), `job:x:${SANDBOX_UID}:`));
  }
  if (!job.network) return mounts;

  const resolver = await readFile('/etc/resolv.conf', 'utf8').catch(() => null);
  if (resolver !== null) await place('resolv.conf', resolver);
  if ((await read('hosts')) === null) await place('hosts', '127.0.0.1 localhost\n::1 localhost\n');
  const source = await realpath(CERTIFICATES).catch(() => null);
  if (source !== null && (await read('ssl/certs/ca-certificates.crt')) === null) {
    mounts.push({ kind: 'ro', at: CERTIFICATES, source, type: 'file' });
  }
  return mounts;
}

/** A passwd or group file in which the job's user is the only one of its name and number. */
function withUser(text: string | null, line: string): string {
  const others = (text ?? '').split('\n').filter((other) => {
    const [name, , id] = other.split(':');
    return other !== '' && name !== 'job' && id !== `${SANDBOX_UID}`;
  });
  return `${[...others, line].join('\n')}\n`;
}

async function gpuDevices(): Promise<string[]> {
  const names = await readdir('/dev').catch(() => []);
  return names.filter((name) => /^(nvidia.*|dri|kfd)$/.test(name)).map((name) => `/dev/${name}`);
}

/** Starts bubblewrap, by a command that ends in its own. Its options go through a pipe: the process list shows nobody a job's environment. */
async function start(command: string[], options: string[], job: SandboxJob): Promise<Started> {
  const { writer, closeWriter, output } = await openOutputPipe(job.dir);
  const child = spawn('/bin/sh', launchArguments(command, job.limits.diskBytes), {
    env: { PATH: process.env.PATH },
    stdio: ['ignore', writer, 'ignore', 'pipe', 'pipe'],
  });
  closeWriter();
  const optionsPipe = child.stdio[ARGUMENTS_FD] as Writable;
  // A bubblewrap that ends early breaks the pipe; its exit says so better.
  optionsPipe.on('error', () => {});
  optionsPipe.end(options.map((option) => `${option}\0`).join(''));

  const status = readStatus(child.stdio[STATUS_FD] as Readable);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  return {
    child,
    output,
    pid: () => status.pid,
    killAll: async () => {
      child.kill('SIGKILL');
      await exited;
      await status.ended;
      if (status.pid !== undefined) await killUntilGone(status.pid, await status.startTime);
    },
    exitCode: async (printed) => {
      await status.ended;
      if (status.exitCode !== undefined) {
        const { exitCode } = status;
        const advice = exitCode === 0 ? null : sandboxAdvice(printed.last, job);
        return { exitCode, ...(advice === null ? {} : { note: advice }) };
      }
      const noShell = /^bwrap: execvp \/bin\/sh: (.*)$/m.exec(printed.first);
      if (noShell) return { exitCode: 127, note: `the image's /bin/sh cannot be run: ${noShell[1]}` };
      throw new RunnerError('sandbox-failed', `bubblewrap could not start the job: ${complaint(printed.first)}`);
    },
  };
}

type Status = {
  /** The first process inside, by its number outside. */
  pid?: number;
  startTime: Promise<string | null>;
  /** Present when the script ran to an end. */
  exitCode?: number;
  ended: Promise<void>;
};

/** Reads what bubblewrap says on --json-status-fd: one JSON object a line. */
function readStatus(stream: Readable): Status {
  const status: Status = { startTime: Promise.resolve(null), ended: Promise.resolve() };
  const lines = createInterface({ input: stream });
  lines.on('line', (line) => {
    const said = parseStatus(line);
    if (said['child-pid'] !== undefined) {
      status.pid = said['child-pid'];
      status.startTime = processStat(status.pid).then((stat) => stat?.startTime ?? null);
    }
    if (said['exit-code'] !== undefined) status.exitCode = said['exit-code'];
  });
  status.ended = new Promise((resolve) => {
    lines.once('close', resolve);
    stream.once('error', () => resolve());
  });
  return status;
}

const StatusLine = z.object({ 'child-pid': z.int().optional(), 'exit-code': z.int().optional() });

function parseStatus(line: string): z.infer<typeof StatusLine> {
  try {
    return StatusLine.parse(JSON.parse(line));
  } catch {
    return {};
  }
}

/** What bubblewrap itself said, out of output that may hold more. */
function complaint(text: string): string {
  const own = text.split('\n').filter((line) => /^(bwrap|sh|\/bin\/sh): /.test(line));
  return own.join('; ') || text.trim().slice(-300) || 'it gave no reason';
}
