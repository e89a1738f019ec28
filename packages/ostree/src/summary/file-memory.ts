import { type Stats, statSync } from 'node:fs';

/** What tells one version of a file or a folder from another: device, inode, size, mtime, ctime. */
export type FileStamp = readonly [dev: number, ino: number, size: number, mtimeMs: number, ctimeMs: number];

/** A change within the same tick of the clock leaves the same times: what is younger is not believed. */
const FRESH_MS = 2000;

/** What is remembered of a file, in a form that can be written down. */
export type Noted<T> = [path: string, stamp: FileStamp, value: T];

/**
 * What was found out about files and folders, by path, for as long as they are the same files. A file counts as the same when
 * device, inode, size, mtime and ctime are, and when it had not changed within two seconds before it was looked at:
 * a later change could have left the same times. (Nobody can set a
 * ctime.) What is in a folder cannot change without its times, either.
 */
export class FileMemory<T> {
  readonly #known: Map<string, Noted<T>>;
  #changed = false;

  /** @param noted by another process */
  constructor(noted: readonly Noted<T>[] = []) {
    this.#known = new Map(noted.map((note) => [note[0], note]));
  }

  /** What is known of a file, or what `read` finds out; it is called as well where there is no file. */
  get(path: string, read: (path: string) => T): T {
    const found = this.look(path);
    if (found.known) return found.value;
    const value = read(path);
    found.note(value);
    return value;
  }

  /** What is known of a file; else what is to be told when it has been found out, by reading it from now on. */
  look(path: string): { known: true; value: T } | { known: false; note: (value: T) => void } {
    const stats = statsOf(path);
    const before = this.#known.get(path);
    if (stats && before && isSame(before[1], stats)) return { known: true, value: before[2] };
    const young = !stats || isFresh(stats);
    const note = (value: T): void => {
      if (young && !before) return;
      this.#changed = true;
      if (young) this.#known.delete(path);
      else this.#known.set(path, [path, stampOf(stats), value]);
    };
    return { known: false, note };
  }

  /** Forgets all but these. */
  keepOnly(paths: ReadonlySet<string>): void {
    if (this.#known.size <= paths.size) return;
    for (const path of this.#known.keys()) {
      if (paths.has(path)) continue;
      this.#changed = true;
      this.#known.delete(path);
    }
  }

  /** What is remembered, for another process; null when it is what it was the last time that somebody asked. */
  notes(): Noted<T>[] | null {
    if (!this.#changed) return null;
    this.#changed = false;
    return [...this.#known.values()];
  }
}

function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined; // whoever reads it says what is wrong
  }
}

export function stampOf({ dev, ino, size, mtimeMs, ctimeMs }: Stats): FileStamp {
  return [dev, ino, size, mtimeMs, ctimeMs];
}

export function isSame([dev, ino, size, mtimeMs, ctimeMs]: FileStamp, stats: Stats): boolean {
  return (
    ino === stats.ino &&
    mtimeMs === stats.mtimeMs &&
    ctimeMs === stats.ctimeMs &&
    size === stats.size &&
    dev === stats.dev
  );
}

function isFresh({ mtimeMs, ctimeMs }: Stats): boolean {
  return Date.now() - Math.max(mtimeMs, ctimeMs) <= FRESH_MS;
}
