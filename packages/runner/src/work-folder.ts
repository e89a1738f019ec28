import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, realpath } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RunnerError } from './errors.ts';
import { killByEnvironment } from './sandbox/processes.ts';
import { removeTree } from './trees/remove.ts';

export type WorkFolder = { jobsDir: string; treesDir: string; unlock: () => void };

/** A runner that was told to stop has this long to leave its work folder. */
const BUSY_WAIT_MS = 10_000;

/**
 * Takes a runner's work folder for this process alone and removes what a killed runner left in it. Nobody else may look
 * inside: images hold setuid programs. Throws RunnerError `busy` while another runner has it.
 */
export async function openWorkFolder(
  path: string,
  { waitMs = BUSY_WAIT_MS, remove = removeTree }: { waitMs?: number; remove?: (path: string) => Promise<void> } = {},
): Promise<WorkFolder> {
  await mkdir(path, { recursive: true });
  await chmod(path, 0o700);
  const root = await realpath(path);
  const unlock = await lock(root, waitMs);
  const jobsDir = join(root, 'jobs');
  // bubblewrap's jobs died with their runner; those without a sandbox did not.
  await killByEnvironment(`OUT=${jobsDir}/`);
  await mkdir(jobsDir, { recursive: true });
  for (const name of await readdir(jobsDir)) await remove(join(jobsDir, name));
  return { jobsDir, treesDir: join(root, 'trees'), unlock };
}

/**
 * A lock that ends with the process however it ends, and needs no file that could be left behind: a socket in Linux's
 * abstract namespace, named after the folder.
 */
async function lock(root: string, waitMs: number): Promise<() => void> {
  const name = `\0treeline-runner-${createHash('sha256').update(root).digest('hex')}`;
  const deadline = Date.now() + waitMs;
  for (;;) {
    const server = createServer((socket) => socket.destroy());
    const taken = await new Promise<boolean>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'EADDRINUSE') resolve(false);
        else reject(error);
      });
      server.listen(name, () => resolve(true));
    });
    if (taken) {
      server.unref();
      return () => server.close();
    }
    if (Date.now() >= deadline) {
      throw new RunnerError('busy', `another runner uses the work folder ${root}`, {
        hint: 'stop it, or give this one a folder of its own (TREELINE_RUNNER_DIR)',
      });
    }
    await sleep(100);
  }
}
