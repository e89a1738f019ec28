import type { LayoutEntry } from './layout.ts';
import type { Stage } from './root-entry.ts';

/** Something put into the sandbox at `at` (absolute, normalised), over what the image has there. */
export type Mount =
  /** This machine's folder or file, read-only or writable. */
  | { kind: 'ro' | 'rw'; at: string; source: string; type: 'dir' | 'file' }
  /** An empty read-only folder. */
  | { kind: 'empty'; at: string }
  | { kind: 'proc' | 'dev'; at: string };

export type BubblewrapPlan = {
  image: LayoutEntry[];
  mounts: Mount[];
  environment: Record<string, string>;
  network: boolean;
  /** Device nodes of this machine to show; absent ones are skipped. */
  devices: string[];
  /** Size of /dev/shm. */
  sharedMemoryBytes: number;
  chdir: string;
  /** File descriptor that bubblewrap reports the process and its exit status on. */
  statusFd: number;
  /**
   * For a root job: bubblewrap is root of the job's user namespace already, and finds what it is to mount at places that
   * this stage gives. Otherwise bubblewrap makes a user namespace with one user.
   */
  stage?: Stage;
};

/** The user that jobs see themselves as, whoever the runner is: results must not depend on it. */
export const SANDBOX_UID = 1000;

/**
 * bubblewrap's options for a job: all but the program's name and the command.
 *
 * The root is a small tmpfs, made read-only at the end: each entry of the image is bound onto it, read-only. A folder of
 * the image is taken apart into its entries only where something must be mounted at a name that it does not have.
 */
export function bubblewrapArguments(plan: BubblewrapPlan): string[] {
  const args = plan.stage ? rootNamespaces(plan.network) : userNamespaces(plan.network);
  // A new session, or the job could push characters into the terminal of whoever started the runner.
  args.push('--hostname', 'treeline', '--die-with-parent', '--new-session');
  args.push(plan.stage ? '--cap-add' : '--cap-drop', 'ALL', '--clearenv');
  for (const [name, value] of Object.entries(plan.environment)) args.push('--setenv', name, value);

  const mounts = plan.mounts
    .filter((mount) => reachable(plan.image, mount.at, plan.mounts))
    .sort((a, b) => depth(a.at) - depth(b.at));
  imageArguments(plan, { entries: plan.image, prefix: '', mounts, args });
  for (const mount of mounts) mountArguments(mount, plan, args);

  args.push('--remount-ro', '/', '--chdir', plan.chdir, '--json-status-fd', `${plan.statusFd}`);
  return args;
}

function userNamespaces(network: boolean): string[] {
  const args = ['--unshare-all', '--unshare-user', '--uid', `${SANDBOX_UID}`, '--gid', `${SANDBOX_UID}`];
  return network ? [...args, '--share-net'] : args;
}

function rootNamespaces(network: boolean): string[] {
  const args = ['--unshare-ipc', '--unshare-pid', '--unshare-uts', '--unshare-cgroup-try'];
  return network ? args : [...args, '--unshare-net'];
}

function imageArguments(
  plan: BubblewrapPlan,
  { entries, prefix, mounts, args }: { entries: LayoutEntry[]; prefix: string; mounts: Mount[]; args: string[] },
): void {
  for (const entry of entries) {
    const path = `${prefix}/${entry.name}`;
    const over = mounts.find((mount) => mount.at === path);
    if (over && (prefix === '' || !fits(entry, over))) continue;
    if (entry.kind === 'symlink') {
      args.push('--symlink', entry.target, path);
    } else if (entry.kind === 'dir' && entry.entries && mustTakeApart(entry, path, mounts)) {
      args.push('--dir', path);
      imageArguments(plan, { entries: entry.entries, prefix: path, mounts, args });
    } else {
      args.push('--ro-bind', sourceOf(plan, { source: entry.source, type: entry.kind, writable: false }), path);
    }
  }
}

function sourceOf({ stage }: BubblewrapPlan, wanted: Parameters<Stage['place']>[0]): string {
  return stage?.place(wanted) ?? wanted.source;
}

/** Whether a folder lacks the name of something that is to be mounted below it: it is bound read-only, so none can be made. */
function mustTakeApart(entry: LayoutEntry & { kind: 'dir' }, path: string, mounts: Mount[]): boolean {
  // Image "host" shows only parts of /var: such an entry is a selection, not the whole folder.
  if (path === '/var' && entry.source === '/var') return true;
  if (path === '/var/lib' && entry.source === '/var/lib') return true;
  return mounts.some((mount) => {
    if (!mount.at.startsWith(`${path}/`)) return false;
    const found = find(entry.entries ?? [], mount.at.slice(path.length + 1).split('/'));
    return found !== 'unread' && (found === 'none' || !fits(found, mount));
  });
}

function find(entries: LayoutEntry[], path: string[]): LayoutEntry | 'none' | 'unread' {
  const entry = entries.find((one) => one.name === path[0]);
  if (!entry) return 'none';
  if (path.length === 1) return entry;
  if (entry.kind !== 'dir') return 'none';
  return entry.entries ? find(entry.entries, path.slice(1)) : 'unread';
}

/** Whether a mount can be made on an existing entry. Not on a symlink: it would be made wherever the link leads. */
function fits(entry: LayoutEntry, mount: Mount): boolean {
  const wanted = mount.kind === 'ro' || mount.kind === 'rw' ? mount.type : 'dir';
  return entry.kind === wanted;
}

/** A mount below something of the image that is no folder cannot be made and is left out. */
function reachable(image: LayoutEntry[], at: string, mounts: Mount[]): boolean {
  const parts = at.slice(1).split('/');
  for (let length = 1; length < parts.length; length++) {
    const path = `/${parts.slice(0, length).join('/')}`;
    if (mounts.some((mount) => mount.at === path)) return true;
    const found = find(image, parts.slice(0, length));
    if (found === 'none' || found === 'unread') return true;
    if (found.kind !== 'dir') return false;
  }
  return true;
}

function mountArguments(mount: Mount, plan: BubblewrapPlan, args: string[]): void {
  if (mount.kind === 'ro' || mount.kind === 'rw') {
    const { source, type } = mount;
    const writable = mount.kind === 'rw';
    args.push(writable ? '--bind' : '--ro-bind', sourceOf(plan, { source, type, writable }), mount.at);
  } else if (mount.kind === 'empty') {
    args.push('--tmpfs', mount.at);
    for (const inside of plan.mounts) {
      if (inside.at.startsWith(`${mount.at}/`)) args.push('--dir', inside.at);
    }
    args.push('--remount-ro', mount.at);
  } else if (mount.kind === 'proc') args.push('--proc', mount.at);
  else {
    args.push('--dev', mount.at);
    for (const device of plan.devices) args.push('--dev-bind-try', device, device);
    args.push('--size', `${plan.sharedMemoryBytes}`, '--perms', '1777', '--tmpfs', `${mount.at}/shm`);
    args.push('--remount-ro', mount.at);
  }
}

function depth(path: string): number {
  return path.split('/').length;
}
