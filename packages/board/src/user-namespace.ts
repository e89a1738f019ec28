import { spawn } from 'node:child_process';
import { run } from './command.ts';
import { BoardError } from './errors.ts';

/**
 * Runs this process's own command line again as root of a user namespace that has the ids of a whole system, and gives
 * back its exit code. For who is not root: files then get the owners that a system has, and nobody needs sudo.
 *
 * @param marker environment variable that the second process sees, so that it does not start a third
 * @throws BoardError `tool-failed` where the system gives no such namespace, saying what to do
 */
export async function rerunInUserNamespace(marker: string): Promise<number> {
  const flags = ['--user', '--map-auto', '--map-root-user', '--setgroups=allow'];
  await run('unshare', [...flags, 'true'], { debian: 'util-linux' }).catch((cause: unknown) => {
    throw new BoardError('tool-failed', 'this needs root, or a user namespace with the ids of a whole system', {
      hint:
        'Use sudo. Or: apt-get install uidmap, and give your user ids in /etc/subuid and /etc/subgid ' +
        '(`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`).',
      cause,
    });
  });
  const command = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('unshare', [...flags, '--kill-child', '--', ...command], {
    stdio: 'inherit',
    env: { ...process.env, [marker]: '1' },
  });
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, forward);
  try {
    return await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', (code) => resolve(code ?? 1));
    });
  } finally {
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.off(signal, forward);
  }
}
