import { spawn, spawnSync } from 'node:child_process';
import { lstatSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { CliError } from '../errors.ts';
import { mountsOf } from './mounts.ts';
import { nameOf, type Workspace } from './record.ts';
import { scratchVar } from './scratch-var.ts';

export interface EnterOptions {
  /** What to run; default a shell. */
  command: readonly string[];
  network: boolean;
  signal: AbortSignal;
}

/** What root may do in a workspace: with files all, with the machine little. */
const CAPABILITIES = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'SETFCAP',
  'SYS_CHROOT',
  'NET_BIND_SERVICE',
  'NET_RAW',
];

const HINT = 'Install bubblewrap (apt-get install bubblewrap) and allow user namespaces.';

/**
 * Runs a command or a shell in a workspace, as root: with bubblewrap, in a user namespace unless it is called by root.
 *
 * @returns the exit code of the command; 128 and more for a signal
 */
export async function enterWorkspace(workspace: Workspace, o: EnterOptions): Promise<number> {
  const { folder } = workspace;
  const isRoot = process.getuid?.() === 0 && worksAsRoot();
  const command = inTerminal(o.command.length > 0 ? o.command : [shellOf(folder)]);
  const mounts = mountsOf(folder, { var: await scratchVar(workspace), network: o.network, isRoot });
  const identity = isRoot
    ? ['--cap-drop', 'ALL', ...CAPABILITIES.flatMap((name) => ['--cap-add', `CAP_${name}`])]
    : ['--unshare-user', '--uid', '0', '--gid', '0', '--cap-add', 'ALL'];
  const home = lstatSync(join(folder, 'root'), { throwIfNoEntry: false }) ? '/root' : '/';
  try {
    return await run(
      [
        ...identity,
        ...['--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try', '--die-with-parent'],
        ...(o.network ? [] : ['--unshare-net']),
        ...['--hostname', nameOf(workspace)],
        ...mounts.arguments,
        ...environment(home),
        ...['--chdir', '/', '--', ...command],
      ],
      o.signal,
    );
  } finally {
    mounts.remove();
  }
}

/** Little of the environment outside means anything inside. */
function environment(home: string): string[] {
  const { TERM, COLORTERM, NO_COLOR } = process.env;
  const values = {
    ...{
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: home,
      USER: 'root',
      LOGNAME: 'root',
    },
    ...{ LANG: 'C.UTF-8', TERM, COLORTERM, NO_COLOR },
  };
  const set = Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : ['--setenv', name, value]));
  return ['--clearenv', ...set];
}

function shellOf(folder: string): string {
  const shells = ['/bin/bash', '/usr/bin/bash', '/bin/sh', '/usr/bin/sh'];
  const found = shells.find((path) => lstatSync(join(folder, path), { throwIfNoEntry: false }));
  if (found) return found;
  throw new CliError('failed', `There is no shell in ${folder}.`, {
    hint: 'Run a program of the tree: treeline enter DIR -- PROGRAM …; or change files from outside.',
  });
}

/** Where the shell of a terminal leaves its exit code; /run is fresh. */
const EXIT = '/run/.exit';

/**
 * A small shell that has job control gives the terminal back, when it ends, to the process group that had it; as that one
 * is not in its namespace, it ends with an error instead, whatever it was told to end with. So it gets a group of its own
 * by another one, which may end with that error. Bash does not mind.
 */
function inTerminal(command: readonly string[]): readonly string[] {
  const [shell = ''] = command;
  if (command.length > 1 || !process.stdin.isTTY || !/^(?:.*\/)?(?:sh|ash|dash)$/.test(shell)) return command;
  const leader = `"$0"; echo $? > ${EXIT}; exec 2> /dev/null`;
  return [shell, '-c', `"$0" -mc '${leader}' "$0"; read -r code < ${EXIT}; exit "$code"`, shell];
}

/** Whether root can do without a user namespace; in a container he often cannot. */
function worksAsRoot(): boolean {
  const probe = spawnSync('bwrap', ['--ro-bind', '/', '/', '--unshare-pid', '--proc', '/proc', '--', 'true'], {
    stdio: 'ignore',
  });
  return probe.status === 0;
}

async function run(args: string[], signal: AbortSignal): Promise<number> {
  // In a terminal ^C is for what runs inside. It is answered there; here it would only leave it alone.
  const ours = process.listeners('SIGINT');
  process.removeAllListeners('SIGINT');
  const ignore = () => {};
  process.on('SIGINT', ignore).on('SIGQUIT', ignore);
  const child = spawn('bwrap', args, { stdio: 'inherit' });
  const end = () => child.kill('SIGTERM');
  signal.addEventListener('abort', end);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', (cause) => {
        reject(new CliError('failed', `bubblewrap cannot be started: ${cause.message}.`, { cause, hint: HINT }));
      });
      child.once('exit', (code, name) => resolve(code ?? 128 + (name ? constants.signals[name] : 0)));
    });
  } finally {
    signal.removeEventListener('abort', end);
    process.off('SIGINT', ignore).off('SIGQUIT', ignore);
    for (const listener of ours) process.on('SIGINT', listener as () => void);
  }
}
