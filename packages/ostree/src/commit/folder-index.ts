import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, type Stats, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Checksum } from '../formats/object-name.ts';
import type { Repo } from '../repo/repo.ts';
import type { Attributes } from './modifier.ts';

/**
 * What a folder that was committed before looked like to the file system, and the checksums that it had: an
 * unchanged tree is neither read nor hashed again.
 *
 * An entry is used only if device, inode, size, mtime and ctime are all the same and it is to be stored with the same
 * owner and mode. ctime cannot be set back by a program, so a file whose content, mode, owner or extended attributes
 * changed is seen, also when its mtime was restored.
 *
 * **Not trusted, so never used:** an entry whose ctime is less than two seconds before it was looked at. It might
 * change again within the same tick of the file system's clock and look the same; the next commit reads it again. For
 * the same reason a ctime in the future is not trusted. A folder that is what it was has the entries that it had: each
 * that comes, goes or gets another name changes the folder's ctime. Clear the index (delete the file below
 * `extensions/treeline/folders`) after the machine's clock was set back by hand, and do not use it
 * (`statCache: false`) on network file systems that make up ctimes.
 *
 * An index in a file of its own (`openIndexFile`) trusts a ctime after a tenth of a second, if it has a fraction of a
 * second, so that it comes from a clock that ticks more often.
 */
export interface FolderIndex {
  /** The dirtree of the whole folder when the index was saved: every checksum in it is one of that tree's. */
  readonly root: Checksum | null;
  /** What is known of a folder, by its path below the root (`/`, `/usr`). */
  find(path: string): FolderRecord | undefined;
  /** Takes a record over into the next index as it is. */
  keep(path: string, record: FolderRecord): void;
  /** Takes it over with another dirtree: only folders below have changed. */
  keepEntries(record: FolderRecord, contents: Checksum): void;
  /** Puts what was seen of a folder into the next index. */
  put(path: string, seen: FolderSnapshot, checksums: Buffer, contents: Checksum): void;
  /** Writes the next index; losing it costs only time. Folders of which nothing was said are forgotten. */
  save(root: Checksum): void;
}

/** A folder as an index has it. */
export interface FolderRecord {
  /** Its dirtree. */
  contents: Checksum;
  /** Names of its entries, each followed by a NUL. */
  names: Buffer;
  /** A stamp of STAMP_BYTES for each entry. */
  stamps: Buffer;
  /** 32 bytes for each entry: a file's checksum, a folder's dirmeta. */
  checksums: Buffer;
  /** The record as it is in the index. */
  bytes: Buffer;
}

/** dev, ino, size, mtime, ctime (milliseconds) of an entry and uid, gid, mode that it is stored with, as doubles. */
export const STAMP_BYTES = 64;
const DOUBLES = STAMP_BYTES / 8;
const SETTLED_MS = 2000;
/** Longer than a tick of the clock from which Linux takes the times of local files. */
const TICK_MS = 100;
/** Stands for a ctime that is not to be trusted: no file has it. */
const UNTRUSTED = -1;

/** Filled by the snapshot that is being made: for an unchanged folder nothing else needs to be allocated. */
let scratch = new Float64Array(1024 * DOUBLES);

/**
 * A folder's entries as they are now, in the order of the directory. Until `detach` its stamps are in memory that the
 * next snapshot uses.
 */
export class FolderSnapshot {
  readonly names: string[] = [];
  #stamps: Buffer | undefined;
  readonly #lookedAt = Date.now();
  #nameBytes: Buffer | undefined;

  add(name: string, stats: Stats, { uid, gid, mode }: Attributes): void {
    const at = this.names.length * DOUBLES;
    if (at === scratch.length) {
      const larger = new Float64Array(2 * at);
      larger.set(scratch);
      scratch = larger;
    }
    scratch[at] = stats.dev;
    scratch[at + 1] = stats.ino;
    scratch[at + 2] = stats.size;
    scratch[at + 3] = stats.mtimeMs;
    scratch[at + 4] = stats.ctimeMs;
    scratch[at + 5] = uid;
    scratch[at + 6] = gid;
    scratch[at + 7] = mode;
    this.names.push(name);
  }

  /** Leaves the entry that was added last out of what may be trusted later. */
  distrustLast(): void {
    scratch[(this.names.length - 1) * DOUBLES + 4] = UNTRUSTED;
  }

  /** The names and stamps as records have them. */
  get nameBytes(): Buffer {
    this.#nameBytes ??= Buffer.from(this.names.length === 0 ? '' : `${this.names.join('\0')}\0`);
    return this.#nameBytes;
  }

  get stamps(): Buffer {
    return this.#stamps ?? Buffer.from(scratch.buffer, 0, this.names.length * STAMP_BYTES);
  }

  /** Whether a record is of just this. */
  equals(record: FolderRecord): boolean {
    return this.stamps.equals(record.stamps) && this.nameBytes.equals(record.names);
  }

  /** Keeps the stamps for as long as the snapshot; those of a record that is equal serve as well. */
  detach(equal?: FolderRecord): void {
    this.#stamps = equal?.stamps ?? Buffer.from(this.stamps);
  }

  /** What to put into an index: entries that may change unseen are made to differ from anything. */
  settledStamps(soon: boolean): Buffer {
    const settled = this.#lookedAt - SETTLED_MS;
    const stamps = Buffer.from(this.stamps);
    for (let at = 4 * 8; at < stamps.length; at += STAMP_BYTES) {
      const ctime = stamps.readDoubleLE(at);
      if (ctime <= settled || (soon && ctime % 1000 !== 0 && ctime <= this.#lookedAt - TICK_MS)) continue;
      stamps.writeDoubleLE(UNTRUSTED, at);
    }
    return stamps;
  }
}

const MAGIC = Buffer.from('treeline-folder-index-1\n');
const DIGEST = 32;
/** Lengths of path and names (u32), number of entries (u32), dirtree. */
const HEAD = 4 + 4 + 4 + 32;
const CONTENTS_AT = 12;

/**
 * The index for one folder of this machine in one repository. A damaged file is an empty index.
 *
 * @param xattrs whether extended attributes are stored: two indexes
 */
export function openFolderIndex(repo: Repo, folder: string, xattrs: boolean): FolderIndex {
  const key = hash('sha256', `${resolve(folder)}\0${xattrs}`).slice(0, 32);
  return openIndex(join(repo.path, 'extensions/treeline/folders', key), false);
}

/** The index in a file of the caller's: of one folder, wherever that is, and for one way of storing it. */
export function openIndexFile(path: string): FolderIndex {
  return openIndex(path, true);
}

function openIndex(path: string, soon: boolean): FolderIndex {
  const { root, records } = load(path);
  const next: Buffer[] = [];
  let kept = 0;
  return {
    root,
    find: (folder) => records.get(folder),
    keep(_path, record) {
      kept++;
      next.push(record.bytes);
    },
    keepEntries({ bytes }, contents) {
      const changed = Buffer.from(bytes);
      changed.write(contents, CONTENTS_AT, 'hex');
      next.push(changed);
    },
    put(folder, seen, checksums, contents) {
      next.push(encodeRecord(folder, seen.nameBytes, seen.settledStamps(soon), { checksums, contents }));
    },
    save(root) {
      if (kept === records.size && next.length === kept) return; // it is what was read
      const body = Buffer.concat([Buffer.from(root, 'hex'), ...next]);
      try {
        mkdirSync(dirname(path), { recursive: true });
        const temporary = `${path}.${process.pid}`;
        writeFileSync(temporary, Buffer.concat([MAGIC, hash('sha256', body, 'buffer'), body]));
        renameSync(temporary, path);
      } catch {
        // An index that cannot be written is only slow.
      }
    },
  };
}

function encodeRecord(
  path: string,
  names: Buffer,
  stamps: Buffer,
  { checksums, contents }: Pick<FolderRecord, 'checksums' | 'contents'>,
): Buffer {
  const pathBytes = Buffer.from(path);
  const head = Buffer.alloc(HEAD);
  head.writeUInt32LE(pathBytes.length, 0);
  head.writeUInt32LE(names.length, 4);
  head.writeUInt32LE(stamps.length / STAMP_BYTES, 8);
  head.write(contents, CONTENTS_AT, 'hex');
  return Buffer.concat([head, pathBytes, names, stamps, checksums]);
}

function load(path: string): { root: Checksum | null; records: Map<string, FolderRecord> } {
  const nothing = { root: null, records: new Map<string, FolderRecord>() };
  let data: Buffer;
  try {
    data = readFileSync(path);
  } catch {
    return nothing;
  }
  const start = MAGIC.length + DIGEST;
  const body = data.subarray(start);
  // The digest is what makes a torn or damaged file harmless.
  if (body.length < 32 || !data.subarray(0, MAGIC.length).equals(MAGIC)) return nothing;
  if (!hash('sha256', body, 'buffer').equals(data.subarray(MAGIC.length, start))) return nothing;
  const records = new Map<string, FolderRecord>();
  for (let at = 32; at < body.length; ) {
    const namesAt = at + HEAD + body.readUInt32LE(at);
    const stampsAt = namesAt + body.readUInt32LE(at + 4);
    const count = body.readUInt32LE(at + 8);
    const checksumsAt = stampsAt + count * STAMP_BYTES;
    const end = checksumsAt + count * 32;
    records.set(body.toString('utf8', at + HEAD, namesAt), {
      contents: body.toString('hex', at + CONTENTS_AT, at + HEAD),
      names: body.subarray(namesAt, stampsAt),
      stamps: body.subarray(stampsAt, checksumsAt),
      checksums: body.subarray(checksumsAt, end),
      bytes: body.subarray(at, end),
    });
    at = end;
  }
  return { root: body.toString('hex', 0, 32), records };
}

/** Checksums of entries of a folder that changed, by name, as far as the entries are what they were. */
export function knownEntries(record: FolderRecord | undefined, seen: FolderSnapshot): (Checksum | undefined)[] {
  if (!record) return [];
  const before = new Map<string, number>();
  let index = 0;
  for (let start = 0; start < record.names.length; index++) {
    const end = record.names.indexOf(0, start);
    before.set(record.names.toString('utf8', start, end), index);
    start = end + 1;
  }
  const now = seen.stamps;
  return seen.names.map((name, at) => {
    const old = before.get(name);
    if (old === undefined) return undefined;
    const [a, b] = [old * STAMP_BYTES, at * STAMP_BYTES];
    if (now.compare(record.stamps, a, a + STAMP_BYTES, b, b + STAMP_BYTES) !== 0) return undefined;
    return record.checksums.toString('hex', old * 32, old * 32 + 32);
  });
}
