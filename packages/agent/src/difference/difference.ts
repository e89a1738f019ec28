import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Attributes, readAttributes } from './attributes.ts';
import { type Before, commitBefore, folderBefore, isUntouched, namesIn } from './before.ts';
import { type Entry, readEntry } from './entry.ts';
import { findUpper, type Overlay, readOverlay, upperOf } from './overlay.ts';
import { type Aspect, type Found, type WalkOptions, walk } from './walk.ts';

/** Something on a board that is not as its commit has it. */
export interface Change {
  /** As the board has it: `/etc/app.conf`, `/usr/bin/app`. */
  path: string;
  change: Found['change'];
  /** What is other about it; empty unless it was changed. */
  differs: readonly Aspect[];
  /** What it is; of what is removed, what it was. */
  type: Entry['type'];
  /**
   * Permissions, owner and size as they are now; null where it is removed. Also the owner is null on a board that is a
   * folder: there it is whoever laid the files out, and set-user-id bits are missing from the permissions.
   */
  mode: number | null;
  uid: number | null;
  gid: number | null;
  size: number | null;
  /** Where a symlink points. */
  target: string | null;
  /** Extended attributes; null where it is removed, and where the board has nothing that reads them. */
  xattrs: Attributes | null;
  /** Base64 of a file's content; null where it is left out, see `omitted`. */
  content: string | null;
  /** `secret`: only its owner may read it, so it stays on the board; `large`: there was no room for it. */
  omitted: 'secret' | 'large' | null;
}

export interface Difference {
  changes: Change[];
  /** False: there were more changes than are told. */
  complete: boolean;
}

/** The system that runs on a board, and what it was made from. */
export interface BoardSystem {
  /** Its root and its /etc on this machine. */
  root: string;
  etc: string;
  /** Its deployment as it lies on disk, below what is mounted over /usr of the root. */
  deployment: string;
  /** False where files have the owners of whoever laid them out, and no set-user-id bits. */
  exact: boolean;
  /** What its commit has at a path: the path itself and what is in it, or, with `below`, everything below. */
  committed(path: string, o: { below: boolean; signal?: AbortSignal | undefined }): Promise<ReadonlyMap<string, Entry>>;
}

/** What a request of the gateway may hold, with room for Base64. */
export const LIMITS = { changes: 5000, contentBytes: 2 * 1024 ** 2 };

/** Of a deployment's top folder: each machine's own, what is mounted there, /etc and /usr, which are looked at apart. */
const ELSEWHERE = new Set(['boot', 'dev', 'etc', 'ostree', 'proc', 'run', 'sys', 'sysroot', 'tmp', 'usr', 'var']);

/**
 * What was changed by hand on a board: /etc against the /usr/etc that its deployment ships, /usr and what else the commit
 * has outside /var. Where an overlay is mounted on /usr (`ostree admin unlock`, also with `--hotfix`), what it shows is
 * compared with the deployment below it; otherwise with what the commit lists, and a file counts as changed that was
 * written since it was checked out. /usr/etc itself, from which the next update takes its /etc, is not looked at.
 */
export async function findDifference(
  system: BoardSystem,
  o: { limits?: typeof LIMITS; signal?: AbortSignal | undefined; mountinfo?: string } = {},
): Promise<Difference> {
  const limits = o.limits ?? LIMITS;
  const found: Found[] = [];
  let complete = true;
  for await (const one of everything(system, o)) {
    complete = found.length < limits.changes;
    if (!complete) break;
    found.push(one);
  }
  const there = found.filter(({ change }) => change !== 'removed').map(({ at }) => at);
  const attributes = await readAttributes(there, { signal: o.signal });
  const room = { bytes: limits.contentBytes };
  const changes: Change[] = [];
  for (const one of found) {
    o.signal?.throwIfAborted();
    changes.push(
      await describe(one, { exact: system.exact, xattrs: attributes && (attributes.get(one.at) ?? []), room }),
    );
  }
  return { changes, complete };
}

async function* everything(
  system: BoardSystem,
  o: { signal?: AbortSignal | undefined; mountinfo?: string },
): AsyncGenerator<Found> {
  const { signal } = o;
  yield* walk('/etc', await overEtc(system, signal));
  yield* walk('/usr', await overUsr(system, o));
  const top = await system.committed('/', { below: false, signal });
  const names = [...top.keys(), ...(await namesIn(system.deployment)).map((name) => `/${name}`)];
  for (const path of [...new Set(names)].sort()) {
    // libostree's own are hidden: the upper folder of a hotfix, the image of composefs.
    if (path === '/' || ELSEWHERE.has(path.slice(1)) || path.startsWith('/.')) continue;
    const entries = top.has(path) ? await system.committed(path, { below: true, signal }) : new Map<string, Entry>();
    const at = (inner: string) => join(system.deployment, inner);
    yield* walk(path, { before: commitBefore(entries), at, exact: system.exact, signal });
  }
}

/** How /etc is compared: with the /usr/etc that its deployment ships. */
async function overEtc(system: BoardSystem, signal: AbortSignal | undefined): Promise<WalkOptions> {
  const [shipped, etc] = [join(system.deployment, 'usr/etc'), system.etc];
  const at = (top: string) => (path: string) => join(top, path.slice('/etc'.length));
  const [before, now] = [
    await readAttributes([shipped], { below: true, signal }),
    await readAttributes([etc], { below: true, signal }),
  ];
  const attributes = before &&
    now && {
      before: renamed(before, (path) => `/etc${path.slice(shipped.length)}`),
      now: renamed(now, (path) => `/etc${path.slice(etc.length)}`),
    };
  return { before: folderBefore({ at: at(shipped) }), at: at(etc), exact: system.exact, attributes, signal };
}

/** How /usr is compared: what an overlay shows with what it lies over, or what is on disk with what the commit lists. */
async function overUsr(
  system: BoardSystem,
  o: { signal?: AbortSignal | undefined; mountinfo?: string },
): Promise<WalkOptions> {
  const { root, deployment, exact } = system;
  const { signal } = o;
  const skip = (path: string) => path === '/usr/etc';
  const upper = upperOf(o.mountinfo ?? (await readFile('/proc/self/mountinfo', 'utf8')), join(root, 'usr'));
  if (upper === null) {
    const before = commitBefore(await system.committed('/usr', { below: true, signal }));
    return { before, at: (path) => join(deployment, path), exact, skip, signal };
  }
  const at = (path: string) => join(root, path);
  const lower = (path: string) => join(deployment, path);
  const folder = await findUpper(upper, [deployment, root]);
  const overlay = folder === null ? null : await readOverlay(folder, '/usr', signal);
  const isSame = (path: string, written: number) => !overlay?.mayDiffer(path) && isUntouched(path, written);
  const before: Before =
    (await readEntry(lower('/usr'))) === null
      ? commitBefore(await system.committed('/usr', { below: true, signal }), isSame)
      : folderBefore({ at: lower, isUntouched: isSame });
  return { before, at, exact, skip, attributes: await attributesOver(overlay, { lower, at, signal }), signal };
}

/** Extended attributes below and as the overlay shows them, of the paths that were written to. */
async function attributesOver(
  overlay: Overlay | null,
  o: { lower: (path: string) => string; at: (path: string) => string; signal: AbortSignal | undefined },
): Promise<WalkOptions['attributes']> {
  if (overlay === null) return null;
  const paths = overlay.paths.filter((path) => path !== '/usr/etc' && !path.startsWith('/usr/etc/'));
  const read = async (where: (path: string) => string) => {
    const found = await readAttributes(paths.map(where), { signal: o.signal });
    return found && new Map(paths.flatMap((path) => (found.has(where(path)) ? [[path, found.get(where(path))!]] : [])));
  };
  const [before, now] = [await read(o.lower), await read(o.at)];
  return before && now && { before, now };
}

function renamed<T>(map: ReadonlyMap<string, T>, rename: (key: string) => string): Map<string, T> {
  return new Map([...map].map(([key, value]) => [rename(key), value]));
}

async function describe(
  found: Found,
  { exact, xattrs, room }: { exact: boolean; xattrs: Attributes | null; room: { bytes: number } },
): Promise<Change> {
  const { path, at, change, differs, entry } = found;
  const { type } = entry;
  const nothing = { mode: null, uid: null, gid: null, size: null, target: null, xattrs: null, content: null };
  if (change === 'removed') return { path, change, differs, type, ...nothing, omitted: null };
  const { mode, size, target } = entry;
  const { uid, gid } = exact ? entry : nothing;
  const about = { path, change, differs, type, mode, uid, gid, size: type === 'file' ? size : null, target };
  for (const { value } of xattrs ?? []) room.bytes -= value.length;
  if (type !== 'file') return { ...about, xattrs, content: null, omitted: null };
  if ((mode & 0o044) === 0) return { ...about, xattrs, content: null, omitted: 'secret' };
  const large: Change = { ...about, xattrs, content: null, omitted: 'large' };
  if (size > room.bytes) return large;
  const content = await readFile(at);
  // It may have grown since it was looked at.
  if (content.length > room.bytes) return large;
  room.bytes -= content.length;
  return { ...about, xattrs, content: content.toString('base64'), omitted: null };
}
