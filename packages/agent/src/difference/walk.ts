import { type Attributes, sameAttributes } from './attributes.ts';
import { type Before, namesIn } from './before.ts';
import { type Entry, readEntry } from './entry.ts';

/** What can be other about something that was there before. */
export type Aspect = 'type' | 'content' | 'target' | 'mode' | 'owner' | 'xattrs';

/** Something that is not as it was. */
export interface Found {
  /** As the board shows it. */
  path: string;
  /** Where it is on this machine. */
  at: string;
  change: 'added' | 'changed' | 'removed';
  /** What is other about it; empty unless it was changed. */
  differs: readonly Aspect[];
  /** What is there; of what is removed, what was. */
  entry: Entry;
}

export interface WalkOptions {
  before: Before;
  /** Where a path is on this machine. */
  at(path: string): string;
  /** False where files have the owners of whoever laid them out, and no set-user-id bits. */
  exact: boolean;
  /** Paths that are passed over, with what is below. */
  skip?: ((path: string) => boolean) | undefined;
  /** Extended attributes by path, then and now; null where nobody could read them. */
  attributes?: { before: ReadonlyMap<string, Attributes>; now: ReadonlyMap<string, Attributes> } | null | undefined;
  signal?: AbortSignal | undefined;
}

/** What differs at a path and below it: parents before what is in them, names in order. Of a removed folder only itself. */
export async function* walk(path: string, o: WalkOptions): AsyncGenerator<Found> {
  o.signal?.throwIfAborted();
  if (o.skip?.(path)) return;
  const at = o.at(path);
  const [before, now] = [await o.before.entry(path), await readEntry(at)];
  if (now === null) {
    if (before !== null) yield { path, at, change: 'removed', differs: [], entry: before };
    return;
  }
  if (before === null) yield { path, at, change: 'added', differs: [], entry: now };
  else {
    const differs = await aspects(path, { ...o, at, was: before, now });
    if (differs.length > 0) yield { path, at, change: 'changed', differs, entry: now };
  }
  if (now.type !== 'folder') return;
  const names = new Set([...(before?.type === 'folder' ? await o.before.names(path) : []), ...(await namesIn(at))]);
  for (const name of [...names].sort()) yield* walk(`${path}/${name}`, o);
}

async function aspects(
  path: string,
  o: Pick<WalkOptions, 'before' | 'exact' | 'attributes'> & {
    at: string;
    was: Entry;
    now: Entry & { written: number };
  },
): Promise<Aspect[]> {
  const { was, now, exact, attributes } = o;
  const found: Aspect[] = [];
  if (was.type !== now.type) found.push('type');
  else if (now.type === 'file') {
    const same = was.size === now.size && (await o.before.hasContent(path, { at: o.at, written: now.written }));
    if (!same) found.push('content');
  } else if (was.target !== now.target) found.push('target');
  const bits = exact ? 0o7777 : 0o777;
  // Every symlink has the same permissions, so between types they say nothing.
  if (was.type === now.type && now.type !== 'symlink' && (was.mode & bits) !== (now.mode & bits)) found.push('mode');
  if (exact && (was.uid !== now.uid || was.gid !== now.gid)) found.push('owner');
  if (attributes && !sameAttributes(attributes.before.get(path), attributes.now.get(path))) found.push('xattrs');
  return found;
}
