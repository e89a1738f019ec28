import { hash } from 'node:crypto';
import { type Dirent, readFileSync, statSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Checksum, isChecksum } from '../formats/object-name.ts';
import { entriesByCommit } from '../formats/summary.ts';
import { type RefAccess, readEntries, readRefFile } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { FileMemory, type FileStamp, isSame, type Noted, stampOf } from './file-memory.ts';
import { KnownDeltas } from './known-deltas.ts';
import type { Listing } from './listing.ts';

/** Repositories of which a process remembers so much. */
const MOST_REPOSITORIES = 64;

const remembered = new Map<string, KnownSummary>();

/** What this process, or the one before, has found out about a repository. */
export function knownSummary(repo: Repo): KnownSummary {
  const path = resolve(repo.path);
  const known = remembered.get(path) ?? new KnownSummary(path);
  remembered.delete(path);
  remembered.set(path, known);
  for (const oldest of remembered.keys()) {
    if (remembered.size <= MOST_REPOSITORIES) break;
    remembered.delete(oldest);
  }
  return known;
}

/**
 * What the update before has found out, so that the next costs what has changed. It is believed only as far as it can
 * be checked:
 *
 * - What was read from a ref, a delta's superblock, or a folder of these is believed as long as the file is the same
 *   (see FileMemory).
 * - What a summary says of a commit depends on the commit alone, which cannot change under its checksum. A process that
 *   has not read the commits itself takes it from the summary that is there, if it has the SHA-256 that this library
 *   noted when it wrote it: one by libostree, a damaged one, or one edited by hand is not looked at.
 *
 * What another process may use lies in `tmp/cache`, and may be deleted at any time.
 */
export class KnownSummary implements RefAccess {
  /** Entries of the summary before, serialised, by commit. */
  commits: ReadonlyMap<Checksum, Buffer>;
  readonly deltas: KnownDeltas;
  readonly #path: string;
  readonly #folders = new FileMemory<readonly Dirent[]>();
  readonly #refs = new FileMemory<Checksum | null>();
  #listed: { listing: Listing; stamp: FileStamp } | null = null;

  constructor(path: string) {
    this.#path = path;
    this.commits = trustedEntries(path);
    this.deltas = new KnownDeltas(readNoted(path));
  }

  entries(folder: string): readonly Dirent[] {
    return this.#folders.get(folder, readEntries);
  }

  read(path: string): Checksum | null {
    return this.#refs.get(path, readRefFile);
  }

  /** What the summary that is in place lists, if this process has made it. */
  listing(): Listing | null {
    const stats = statSync(join(this.#path, 'summary'), { throwIfNoEntry: false });
    return stats && this.#listed && isSame(this.#listed.stamp, stats) ? this.#listed.listing : null;
  }

  /** Notes what is in place now. Failing to is no failure: the next update costs more. */
  async save(summary: Buffer, listing: Listing): Promise<void> {
    this.commits = listing.commits;
    try {
      const stamp = stampOf(statSync(join(this.#path, 'summary')));
      this.#listed = { listing, stamp };
      await replaceCache(join(this.#path, SUMMARY_NOTE), hash('sha256', summary));
      const noted = this.deltas.superblocks.notes();
      if (noted) await replaceCache(join(this.#path, SUPERBLOCK_NOTES), JSON.stringify(noted));
    } catch {
      // a cache
    }
  }
}

const SUMMARY_NOTE = 'tmp/cache/treeline-summary.sha256';
const SUPERBLOCK_NOTES = 'tmp/cache/treeline-superblocks.json';

async function replaceCache(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.${process.pid}`, text);
  await rename(`${path}.${process.pid}`, path);
}

function trustedEntries(root: string): ReadonlyMap<Checksum, Buffer> {
  try {
    const noted = readFileSync(join(root, SUMMARY_NOTE), 'latin1');
    const summary = readFileSync(join(root, 'summary'));
    return hash('sha256', summary) === noted ? entriesByCommit(summary) : new Map();
  } catch {
    return new Map();
  }
}

function readNoted(root: string): Noted<Checksum>[] {
  let noted: unknown;
  try {
    noted = JSON.parse(readFileSync(join(root, SUPERBLOCK_NOTES), 'utf8'));
  } catch {
    return [];
  }
  return Array.isArray(noted) && noted.every(isNote) ? noted : [];
}

function isNote(note: unknown): note is Noted<Checksum> {
  if (!Array.isArray(note) || note.length !== 3) return false;
  const [path, stamp, digest] = note as unknown[];
  const isStamp = Array.isArray(stamp) && stamp.length === 5 && stamp.every((part) => typeof part === 'number');
  return typeof path === 'string' && isStamp && typeof digest === 'string' && isChecksum(digest);
}
