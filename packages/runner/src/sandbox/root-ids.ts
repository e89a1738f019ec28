import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { type IdShift, SHIFTED_IDS } from '@treeline/ostree';

/**
 * The ids that root jobs get. `host` is where they begin in the runner's own namespace. `outer` is where they begin for
 * whoever prepares and stores such a job's files: the same for a runner that is root; for any other a namespace in which
 * the runner's user is root and the ids follow, because it may give no files away itself.
 */
export type RootIds = { host: IdShift; outer: IdShift; runnerIsRoot: boolean };

/**
 * Where the ids of a runner that is root begin, unless /etc/subuid says otherwise: beyond what Linux distributions
 * give to users, containers of systemd and subordinate ranges, and below 2^31.
 */
const FREE_RANGE = 1_900_000_000;

/** Finds 65,536 ids for root jobs, or says what this machine lacks. */
export async function findRootIds(): Promise<RootIds | { lacks: string }> {
  const uids = await findRange('uid');
  const gids = await findRange('gid');
  for (const range of [uids, gids]) if (typeof range === 'string') return { lacks: range };
  const host = { uid: uids as number, gid: gids as number };
  const runnerIsRoot = process.getuid?.() === 0;
  return { host, outer: runnerIsRoot ? host : { uid: 1, gid: 1 }, runnerIsRoot };
}

async function findRange(kind: 'uid' | 'gid'): Promise<number | string> {
  const file = `/etc/sub${kind}`;
  const { username, uid } = userInfo();
  const text = await readFile(file, 'utf8').catch(() => '');
  const given = subordinateRange(text, [username, `${uid}`]);
  if (process.getuid?.() !== 0) {
    return given ?? `${file} gives ${username} no ${SHIFTED_IDS} ids (usermod --add-sub${kind}s)`;
  }
  const map = await readFile(`/proc/self/${kind}_map`, 'utf8');
  return given ?? rangeOfRoot(map) ?? `the runner is in a user namespace with fewer than ${2 * SHIFTED_IDS} ${kind}s`;
}

/** Start of the first range of /etc/subuid or /etc/subgid (`user:start:count`) that is long enough. */
export function subordinateRange(text: string, names: string[]): number | undefined {
  for (const line of text.split('\n')) {
    const [name = '', start, count] = line.split(':');
    if (names.includes(name) && /^\d+$/.test(start ?? '') && Number(count) >= SHIFTED_IDS) return Number(start);
  }
  return undefined;
}

/** Out of a uid_map (`inside outside count` a line): the usual range, or the end of what there is in a container. */
export function rangeOfRoot(map: string): number | undefined {
  const extents = map
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .map(([inside = 0, , count = 0]) => ({ inside, end: inside + count }));
  const usual = extents.some(({ inside, end }) => inside <= FREE_RANGE && end >= FREE_RANGE + SHIFTED_IDS);
  if (usual) return FREE_RANGE;
  // Ids below 65,536 are in use by the container itself.
  const last = extents.filter(({ inside, end }) => end - SHIFTED_IDS >= Math.max(inside, SHIFTED_IDS)).at(-1);
  return last && last.end - SHIFTED_IDS;
}
