import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';

/**
 * Starts a program that the kernel kills when this process ends, however it ends: `setpriv` (util-linux) sets the
 * signal and becomes the program, so the child's pid is the program's.
 */
export function spawnBound(command: string, commandArguments: readonly string[], o: SpawnOptions): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'KILL', '--', command, ...commandArguments], o);
}

/** Resolves when a process has ended. */
export function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
}
