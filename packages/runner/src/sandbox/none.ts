import { spawn } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { RunnerError } from '../errors.ts';
import { launchArguments, openOutputPipe } from './launch.ts';
import { killByEnvironment } from './processes.ts';
import type { Ending, Places, RunOptions, Sandbox, SandboxJob } from './sandbox.ts';
import { jobEnvironment } from './sandbox.ts';
import { folders, supervise } from './supervise.ts';
import { diskUsage } from './usage.ts';

/**
 * No sandbox: the job's script runs as the runner's user and can do what that user can. Only for those who asked for it.
 * Jobs find their folders by $SRC, $IN, $OUT and $HOME, for there is no /src and no /out. A job with an image of
 * its own is refused: running it with this machine's programs would store its result under a key that it does not have.
 */
export function openUnsandboxed(): Sandbox {
  const root = { lacks: 'it runs jobs without a sandbox (--unsandboxed)' };
  return { kind: 'none', root, run: runUnsandboxed };
}

async function runUnsandboxed(job: SandboxJob, options: RunOptions): Promise<Ending> {
  if (job.image !== null) {
    throw new RunnerError(
      'no-sandbox',
      'the job has an image, and a runner without a sandbox can only run "image: host"',
      {
        hint: 'install bubblewrap on the runner and start it without --unsandboxed',
      },
    );
  }
  if (job.root) throw new RunnerError('no-sandbox', 'the job is to be root, and this runner has no sandbox for it');
  const places: Places = {
    src: join(job.dir, 'src'),
    in: join(job.dir, 'in'),
    out: join(job.dir, 'out'),
    tmp: join(job.dir, 'tmp'),
  };
  await mkdir(places.in);
  for (const input of job.inputs) await symlink(input.dir, join(places.in, input.name));
  const script = join(job.dir, 'job.sh');
  await writeFile(script, job.command);
  const baseline = await diskUsage(folders(job.dir));
  options.signal.throwIfAborted();

  // Detached: a process group of its own, that can be killed as one.
  const { writer, closeWriter, output } = await openOutputPipe(job.dir);
  const child = spawn('/bin/sh', launchArguments(['/bin/sh', '-eu', script], job.limits.diskBytes), {
    cwd: places.src,
    env: jobEnvironment(job.environment, places),
    stdio: ['ignore', writer, 'ignore'],
    detached: true,
  });
  closeWriter();
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const started = {
    child,
    output,
    pid: () => child.pid,
    killAll: async () => {
      killGroup(child.pid);
      await exited;
      await killByEnvironment(`OUT=${places.out}`);
    },
    exitCode: async () => ({ exitCode: child.exitCode ?? 128 + constants.signals[child.signalCode ?? 'SIGKILL'] }),
  };
  return await supervise(started, { dir: job.dir, baselineBytes: baseline.bytes, limits: job.limits, ...options });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group is gone.
  }
}
