import {
  closeSync,
  constants,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { syncFilesystem } from '../fs/syscalls.ts';
import { timeSlices } from '../prune/time-slices.ts';

/**
 * How files come to be in a copy: `link` as hard links, `copy` as files of their own (sharing blocks where the file
 * system can), `auto` as links where that is possible.
 */
export type CopyMode = 'auto' | 'link' | 'copy';

/** Copies that are under way at once, and after how many of them, or how many bytes, they are made durable. */
const AT_ONCE = 8;
const BATCH_FILES = 4096;
const BATCH_BYTES = 1024 * 1024 * 1024;

/**
 * Puts files of one folder into another, each whole from the moment that it is there, also after power was lost: links
 * are to files that are on disk, copies wait apart until they are.
 */
export class Placer {
  /** Files that were put in place, and bytes of those that were copied. */
  placed = 0;
  bytes = 0;
  /** Small files that were written. */
  written = 0;
  readonly #from: string;
  readonly #to: string;
  readonly #signal: AbortSignal | undefined;
  #links: boolean;
  readonly #mustLink: boolean;
  readonly #waiting: string;
  #temporaries = 0;
  #copies: { temporary: string; path: string }[] = [];
  #copiedBytes = 0;
  readonly #folders = new Set<string>();

  /** @param o.waiting an empty folder on the file system of `to` */
  constructor(from: string, to: string, o: { mode: CopyMode; waiting: string; signal: AbortSignal | undefined }) {
    this.#from = from;
    this.#to = to;
    this.#waiting = o.waiting;
    this.#signal = o.signal;
    this.#links = o.mode !== 'copy';
    this.#mustLink = o.mode === 'link';
  }

  /** Puts these paths in place, replacing what is there, in no particular order. */
  async place(paths: Iterable<string>, onPlaced: () => void = () => {}): Promise<void> {
    const others = timeSlices(this.#signal);
    const running = new Set<Promise<void>>();
    try {
      for (const path of paths) {
        await others();
        this.placed++;
        onPlaced();
        if (this.#links && this.#link(path)) continue;
        const copying = this.#copy(path).finally(() => running.delete(copying));
        running.add(copying);
        if (running.size >= AT_ONCE) await Promise.race(running);
        if (this.#copies.length < BATCH_FILES && this.#copiedBytes < BATCH_BYTES) continue;
        await Promise.all(running);
        this.#release();
      }
      await Promise.all(running);
      this.#release();
    } finally {
      await Promise.allSettled(running);
    }
  }

  /** Makes durable what was put in place until now. */
  settle(): void {
    const fd = openSync(this.#to, 'r');
    try {
      syncFilesystem(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Writes a small file that replaces what is there. It is durable when what was placed is settled. */
  write(path: string, data: string | Uint8Array): void {
    this.written++;
    this.#makeFolder(path);
    const temporary = this.#temporary();
    writeFileSync(temporary, data, { mode: 0o644 });
    renameSync(temporary, join(this.#to, path));
  }

  #temporary(): string {
    return join(this.#waiting, String(this.#temporaries++));
  }

  #makeFolder(path: string): void {
    const folder = dirname(join(this.#to, path));
    if (this.#folders.has(folder)) return;
    mkdirSync(folder, { recursive: true });
    this.#folders.add(folder);
  }

  /** False where files cannot be linked. */
  #link(path: string): boolean {
    const [source, target] = [join(this.#from, path), join(this.#to, path)];
    this.#makeFolder(path);
    try {
      linkSync(source, target);
    } catch (error) {
      const code = systemCode(error);
      if (code === 'EEXIST') {
        const temporary = this.#temporary();
        linkSync(source, temporary);
        renameSync(temporary, target);
        // Of two names of one file rename leaves both.
        rmSync(temporary, { force: true });
      } else if (code && CANNOT_LINK.has(code)) {
        if (this.#mustLink) {
          throw new OstreeError('unsupported', `${target}: cannot be a hard link to ${source}: ${code}`, {
            cause: error,
            hint: 'Both must be on one file system that has hard links; or copy.',
          });
        }
        if (code !== 'EMLINK') this.#links = false;
        return false;
      } else throw error;
    }
    return true;
  }

  async #copy(path: string): Promise<void> {
    const source = join(this.#from, path);
    this.#makeFolder(path);
    const temporary = this.#temporary();
    const stats = statSync(source);
    this.#copiedBytes += stats.size;
    this.bytes += stats.size;
    await copyFile(source, temporary, constants.COPYFILE_FICLONE);
    utimesSync(temporary, stats.atime, stats.mtime);
    this.#copies.push({ temporary, path });
  }

  #release(): void {
    if (this.#copies.length === 0) return;
    this.settle();
    for (const { temporary, path } of this.#copies) renameSync(temporary, join(this.#to, path));
    this.#copies = [];
    this.#copiedBytes = 0;
  }
}

const CANNOT_LINK = new Set(['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EACCES']);
