import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, type Stats, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Checksum } from '../formats/object-name.ts';
import type { Repo } from '../repo/repo.ts';

/**
 * Checksums of files that were committed before, by what the file system says about them. An entry is used only
 * if device, inode, size, mtime and ctime are all the same and the file's attributes are stored in the same way.
 * ctime cannot be set back by a program, so a file whose content, mode, owner or extended attributes changed is
 * seen, also when its mtime was restored.
 *
 * **Not trusted, so never recorded:** a file whose ctime is less than two seconds before it was read. It might
 * change again within the same tick of the file system's clock and look the same; the next commit reads it
 * again. For the same reason a ctime in the future is not trusted. Clear the cache (delete the file below
 * `extensions/treeline/stat-cache`) after the machine's clock was set back by hand, and do not use it
 * (`statCache: false`) on network file systems that make up ctimes.
 */
export interface StatCache {
  lookUp(stats: Stats, attributes: Attributes, xattrs: boolean): Checksum | undefined;
  /** @param readAt milliseconds since 1970 at a moment before the file was opened */
  remember(stats: Stats, attributes: Attributes, xattrs: boolean, checksum: Checksum, readAt: number): void;
  /** Writes what was seen in this walk; entries of files that are gone are dropped. Losing it costs only time. */
  save(): void;
}

interface Attributes {
  uid: number;
  gid: number;
  mode: number;
}

/** ino, dev, size, mtime, ctime as doubles; uid, gid, mode, xattrs as u32; 32 bytes of checksum. */
const RECORD = 5 * 8 + 4 * 4 + 32;
const MAGIC = Buffer.from('treeline-stat-cache-1\n');
const SETTLED_MS = 2000;

/** The cache for one folder of this machine in one repository. A damaged file is an empty cache. */
export function openStatCache(repo: Repo, folder: string): StatCache {
  const key = hash('sha256', resolve(folder)).slice(0, 32);
  const path = join(repo.path, 'extensions/treeline/stat-cache', key);
  const old = load(path);
  const seen = new Map<string, Buffer>();
  return {
    lookUp(stats, attributes, xattrs) {
      const id = `${stats.dev}:${stats.ino}`;
      const record = old.get(id);
      if (!record || !sameKey(record, keyOf(stats, attributes, xattrs))) return undefined;
      seen.set(id, record);
      return record.toString('hex', RECORD - 32);
    },
    remember(stats, attributes, xattrs, checksum, readAt) {
      if (stats.ctimeMs > readAt - SETTLED_MS) return;
      seen.set(
        `${stats.dev}:${stats.ino}`,
        Buffer.concat([keyOf(stats, attributes, xattrs), Buffer.from(checksum, 'hex')]),
      );
    },
    save() {
      const body = Buffer.concat([...seen.values()]);
      const digest = hash('sha256', body, 'buffer');
      try {
        mkdirSync(dirname(path), { recursive: true });
        const temporary = `${path}.${process.pid}`;
        writeFileSync(temporary, Buffer.concat([MAGIC, digest, body]));
        renameSync(temporary, path);
      } catch {
        // A cache that cannot be written is only slow.
      }
    },
  };
}

const scratch = Buffer.alloc(RECORD - 32);

function keyOf(stats: Stats, attributes: Attributes, xattrs: boolean): Buffer {
  const buffer = Buffer.from(scratch);
  buffer.writeDoubleLE(stats.ino, 0);
  buffer.writeDoubleLE(stats.dev, 8);
  buffer.writeDoubleLE(stats.size, 16);
  buffer.writeDoubleLE(stats.mtimeMs, 24);
  buffer.writeDoubleLE(stats.ctimeMs, 32);
  buffer.writeUInt32LE(attributes.uid, 40);
  buffer.writeUInt32LE(attributes.gid, 44);
  buffer.writeUInt32LE(attributes.mode, 48);
  buffer.writeUInt32LE(xattrs ? 1 : 0, 52);
  return buffer;
}

function sameKey(record: Buffer, key: Buffer): boolean {
  return record.compare(key, 0, key.length, 0, key.length) === 0;
}

function load(path: string): Map<string, Buffer> {
  const entries = new Map<string, Buffer>();
  let data: Buffer;
  try {
    data = readFileSync(path);
  } catch {
    return entries;
  }
  const start = MAGIC.length + 32;
  const body = data.subarray(start);
  // The digest is what makes a torn or damaged file harmless.
  if (!data.subarray(0, MAGIC.length).equals(MAGIC) || body.length % RECORD !== 0) return entries;
  if (!hash('sha256', body, 'buffer').equals(data.subarray(MAGIC.length, start))) return entries;
  for (let at = 0; at < body.length; at += RECORD) {
    const record = body.subarray(at, at + RECORD);
    entries.set(`${record.readDoubleLE(8)}:${record.readDoubleLE(0)}`, record);
  }
  return entries;
}
