import { hash } from 'node:crypto';
import { type BigIntStats, readFileSync, statSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type DeltaName, deltaName, deltaSuperblockPath } from '../delta/names.ts';
import { superblockDigest } from '../delta/stored.ts';
import { type Checksum, isChecksum } from '../formats/object-name.ts';
import { entriesByCommit } from '../formats/summary.ts';
import type { Repo } from '../repo/repo.ts';

/**
 * What the update before has found out, so that the next costs what has changed. It lies in `tmp/cache`, may be
 * deleted at any time, and is believed only as far as it can be checked:
 *
 * - Entries of refs are taken from the old summary only when the file has the SHA-256 that this library noted when it
 *   wrote it. An entry says nothing but what is in the commit object, which cannot change under its checksum. A summary
 *   by libostree, a damaged one, or one edited by hand is not looked at.
 * - The digest of a superblock is taken only when its file has the same inode, size, mtime and ctime in nanoseconds,
 *   and had not changed within two seconds before it was hashed: a later change could have left the same times.
 */
export interface KnownSummary {
  /** Entries of the summary before, serialised, by commit. */
  entries: ReadonlyMap<Checksum, Buffer>;
  digest(delta: DeltaName): Promise<Checksum>;
  /** Notes what this update has found out. Failing to is no failure: the next update costs more. */
  save(summary: Buffer): Promise<void>;
}

interface Stored {
  version: 1;
  summary: Checksum;
  superblocks: Record<string, [stamp: string, digest: Checksum]>;
}

const FRESH_MS = 2000;

export function readKnownSummary(repo: Repo): KnownSummary {
  const path = join(repo.path, 'tmp/cache/treeline-summary.json');
  const before = readStored(path);
  const superblocks: Stored['superblocks'] = {};
  return {
    entries: before ? trustedEntries(repo, before) : new Map(),
    async digest(delta) {
      const file = join(repo.path, deltaSuperblockPath(delta.from, delta.to));
      const name = deltaName(delta.from, delta.to);
      const stats = statSync(file, { bigint: true });
      const stamp = stampOf(stats);
      const known = before?.superblocks[name];
      const digest = known?.[0] === stamp ? known[1] : await superblockDigest(repo, delta);
      const age = Date.now() - Number(stats.ctimeMs > stats.mtimeMs ? stats.ctimeMs : stats.mtimeMs);
      if (age > FRESH_MS) superblocks[name] = [stamp, digest];
      return digest;
    },
    async save(summary) {
      const stored: Stored = { version: 1, summary: hash('sha256', summary), superblocks };
      try {
        await mkdir(dirname(path), { recursive: true });
        await writeFile(`${path}.${process.pid}`, JSON.stringify(stored));
        await rename(`${path}.${process.pid}`, path);
      } catch {
        // a cache
      }
    },
  };
}

function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
}

function trustedEntries(repo: Repo, { summary: noted }: Stored): ReadonlyMap<Checksum, Buffer> {
  let summary: Buffer;
  try {
    summary = readFileSync(join(repo.path, 'summary'));
  } catch {
    return new Map();
  }
  return hash('sha256', summary) === noted ? entriesByCommit(summary) : new Map();
}

function readStored(path: string): Stored | null {
  let stored: Partial<Stored> | null;
  try {
    stored = JSON.parse(readFileSync(path, 'utf8')) as Partial<Stored> | null;
  } catch {
    return null;
  }
  const { version, summary, superblocks } = stored ?? {};
  if (version !== 1 || typeof summary !== 'string' || typeof superblocks !== 'object' || !superblocks) return null;
  const whole = Object.values(superblocks).every(
    (one) => Array.isArray(one) && typeof one[0] === 'string' && typeof one[1] === 'string' && isChecksum(one[1]),
  );
  return whole ? { version, summary, superblocks } : null;
}
