import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { CheckPlace } from '../deploy/deployer.ts';
import { AgentError, messageOf } from '../errors.ts';
import { runProgram } from './program.ts';

/** Mounted by the sandbox itself, whatever the tree has there. */
const OWN = new Set(['proc', 'dev', 'tmp', 'run', 'var', 'etc', 'sys', 'sysroot']);

/**
 * bubblewrap's arguments for a process that sees a deployment as its system: the tree read-only as /, the board's /var
 * writable, its /etc, an empty /tmp and /run, no network, no other processes.
 *
 * The entries of / are mounted one by one, because a tree often lacks the empty folders that mounts need.
 */
export async function sandboxArguments(place: CheckPlace): Promise<string[]> {
  const mounts: string[] = [];
  for (const entry of await readdir(place.root, { withFileTypes: true })) {
    if (OWN.has(entry.name) || entry.name.startsWith('.')) continue;
    const outside = join(place.root, entry.name);
    const inside = `/${entry.name}`;
    if (entry.isSymbolicLink()) mounts.push('--symlink', await readlink(outside), inside);
    else if (entry.isDirectory() || entry.isFile()) mounts.push('--ro-bind', outside, inside);
  }
  return [
    '--unshare-all',
    '--die-with-parent',
    '--new-session',
    ...mounts,
    ...['--ro-bind', place.etc, '/etc'],
    ...['--bind', place.var, '/var'],
    ...['--proc', '/proc'],
    ...['--dev', '/dev'],
    ...['--tmpfs', '/tmp'],
    ...['--tmpfs', '/run'],
    ...['--remount-ro', '/'],
    ...['--chdir', '/'],
    '--',
  ];
}

/**
 * Makes sure that bubblewrap works here: without it no release could be judged.
 *
 * @throws AgentError `tool-missing`
 */
export async function ensureSandbox(): Promise<void> {
  const hint = 'Install bubblewrap (apt-get install bubblewrap) and allow user namespaces.';
  const problem = await runProgram(['bwrap', '--unshare-all', '--ro-bind', '/', '/', '--', '/bin/sh', '-c', ':'], {
    timeoutMs: 20_000,
    environment: { PATH: process.env.PATH ?? '/usr/bin:/bin' },
  }).then(
    (ended) => (ended.exitCode === 0 ? null : ended.output),
    (error: unknown) => messageOf(error),
  );
  if (problem !== null) {
    throw new AgentError('tool-missing', `health checks cannot be run here, bubblewrap does not work: ${problem}`, {
      hint,
    });
  }
}
