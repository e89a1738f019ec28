import { readdir } from 'node:fs/promises';
import { type Entry, readEntry, sameBytes } from './entry.ts';

/** What was there before anybody changed it. Paths are as the board shows them: `/etc/app.conf`. */
export interface Before {
  /** Names in a folder; none where there was no folder. */
  names(path: string): Promise<readonly string[]>;
  entry(path: string): Promise<Entry | null>;
  /** Whether a file that has the same size now has the same content. */
  hasContent(path: string, now: { at: string; written: number }): Promise<boolean>;
}

/** libostree gives all that it checks out this time or 0, in seconds; what has another was written by somebody else. */
const CHECKED_OUT = 1;

/** Says of a file that it was not written to since it was checked out. */
export function isUntouched(_path: string, written: number): boolean {
  return written <= CHECKED_OUT;
}

/**
 * A folder that has what was shipped.
 *
 * @param o.at where that is of a path
 * @param o.isUntouched whether a file need not be read to know that it has its content; default: each is read
 */
export function folderBefore(o: {
  at(path: string): string;
  isUntouched?: ((path: string, written: number) => boolean) | undefined;
}): Before {
  return {
    names: (path) => namesIn(o.at(path)),
    entry: (path) => readEntry(o.at(path)),
    hasContent: async (path, now) => o.isUntouched?.(path, now.written) || (await sameBytes(o.at(path), now.at)),
  };
}

/** What a commit lists, without its content: what was written to since it was checked out counts as other content. */
export function commitBefore(entries: ReadonlyMap<string, Entry>, isSame: typeof isUntouched = isUntouched): Before {
  const folders = new Map<string, string[]>();
  for (const path of entries.keys()) {
    const slash = path.lastIndexOf('/');
    const parent = path.slice(0, slash);
    const names = folders.get(parent);
    if (names === undefined) folders.set(parent, [path.slice(slash + 1)]);
    else names.push(path.slice(slash + 1));
  }
  return {
    names: async (path) => folders.get(path) ?? [],
    entry: async (path) => entries.get(path) ?? null,
    hasContent: async (path, { written }) => isSame(path, written),
  };
}

/** Names in a folder on disk; none where there is no folder. */
export async function namesIn(path: string): Promise<string[]> {
  return await readdir(path).catch(() => []);
}
