import { createHash } from 'node:crypto';
import { closeSync, fchmodSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { OstreeError } from '../errors.ts';
import type { FileHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import { type Checksum, checksumToBytes, loosePath } from '../formats/object-name.ts';
import type { Xattr } from '../fs/syscalls.ts';
import { assertHash } from '../repo/objects.ts';
import { compressPayload } from './compress-payload.ts';
import type { CopyPieces, Encoding, Spooled } from './encode-object.ts';
import { encodePayload, type PartMode, type PayloadTables } from './part.ts';
import { release } from './release.ts';
import { type ObjectSource, readContent } from './source-content.ts';
import { writeVarint } from './varint.ts';

/** A file or symlink of a part. */
export interface PartFile {
  checksum: Checksum;
  header: FileHeader;
  /** Bytes of content; 0 for a symlink. */
  size: number;
  encoding: Encoding;
}

/** What a part is to hold, in this order: metadata, then files. */
export interface PartToBuild {
  source: ObjectSource;
  metadata: { type: 'dirtree' | 'dirmeta'; checksum: Checksum }[];
  files: PartFile[];
  /** Where the part file goes; it must not be there. */
  path: string;
  /** Temporary files are named after this. */
  temporary: string;
}

export interface BuiltPart {
  /** SHA-256 of the part file. */
  checksum: Checksum;
  /** Bytes of the part file. */
  size: number;
  /** Bytes of the objects that it makes. */
  unpackedSize: number;
}

const [SPLICE, OPEN, WRITE, SET_SOURCE, UNSET_SOURCE, CLOSE, PATCH] = [...Buffer.from('SowrRcB')] as [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
];

/** Puts a part together, compresses it and writes it. The same task gives the same bytes. */
export async function buildPart(task: PartToBuild): Promise<BuiltPart> {
  const { payload, unpackedSize } = await buildPayload(task);
  const code = task.files.some(({ encoding }) => encoding.kind === 'whole' && encoding.code);
  const body = compressPayload(payload, { code });
  release(payload);
  const size = 1 + body.length;
  const file = [Buffer.from('x'), body];
  const hash = createHash('sha256');
  const fd = openSync(task.path, 'wx', 0o644);
  try {
    fchmodSync(fd, 0o644);
    for (const piece of file) {
      hash.update(piece);
      for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
    }
  } finally {
    closeSync(fd);
  }
  release(body);
  return { checksum: hash.digest('hex'), size, unpackedSize };
}

/** A piece of the blob: where it goes, how long it is, and how to come by it. */
interface BlobPiece {
  at: number;
  length: number;
  read: () => Uint8Array | Promise<Uint8Array>;
}

async function buildPayload(task: PartToBuild): Promise<{ payload: Buffer; unpackedSize: number }> {
  const writer = new PartWriter();
  const metadata = task.metadata.map(({ type, checksum }) => {
    const data = readFileSync(join(task.source.objects, loosePath(checksum, type)));
    assertHash(data, checksum, type);
    return data;
  });
  for (const data of metadata) writer.metadata(data);
  let temporaries = 0;
  const temporary = () => `${task.temporary}.${temporaries++}`;
  for (const file of task.files) {
    const { encoding, header } = file;
    if ((header.mode & S_IFMT) === S_IFLNK) writer.symlink(file);
    else if (encoding.kind === 'patch') writer.patch(file, encoding);
    else if (encoding.kind === 'copy') writer.copy(file, encoding);
    else writer.whole(file, () => readContent(task.source, file.checksum, temporary));
  }
  const { data: payload, blob } = encodePayload(writer.tables(), writer.blobLength);
  for (const { at, length, read } of writer.pieces) {
    const data = await read();
    if (data.length !== length) throw new OstreeError('changed', `a delta part: ${data.length} bytes of ${length}`);
    blob.set(data, at);
    release(data);
  }
  return { payload, unpackedSize: writer.unpackedSize };
}

function unpack({ path, offset, stored, length }: Spooled): Uint8Array {
  const packed = Buffer.allocUnsafe(stored);
  const fd = openSync(path, 'r');
  try {
    for (let at = 0; at < stored; ) at += readSync(fd, packed, at, stored - at, offset + at);
  } finally {
    closeSync(fd);
  }
  return zstdDecompressSync(packed, { maxOutputLength: Math.max(length, 1) });
}

/** Lays a part out: its operations, and where in the blob what will be. */
class PartWriter {
  unpackedSize = 0;
  blobLength = 0;
  readonly pieces: BlobPiece[] = [];
  readonly #modes: PartMode[] = [];
  readonly #modeIndexes = new Map<string, number>();
  readonly #xattrs: (readonly Xattr[])[] = [];
  readonly #xattrIndexes = new Map<string, number>();
  readonly #operations: number[] = [];

  #place(length: number, read: BlobPiece['read']): number {
    const at = this.blobLength;
    this.pieces.push({ at, length, read });
    this.blobLength += length;
    return at;
  }

  #operation(letter: number, ...operands: number[]): void {
    this.#operations.push(letter);
    for (const operand of operands) writeVarint(this.#operations, operand);
  }

  #attributes({ header: { uid, gid, mode, xattrs } }: PartFile): [mode: number, xattrs: number] {
    const modeIndex = indexOf(this.#modeIndexes, `${uid} ${gid} ${mode}`);
    if (modeIndex === this.#modes.length) this.#modes.push({ uid, gid, mode });
    const key = xattrs.map(([name, value]) => `${hex(name)}=${hex(value)}`).join();
    const xattrIndex = indexOf(this.#xattrIndexes, key);
    if (xattrIndex === this.#xattrs.length) this.#xattrs.push(xattrs);
    return [modeIndex, xattrIndex];
  }

  metadata(data: Uint8Array): void {
    this.unpackedSize += data.length;
    this.#operation(
      SPLICE,
      data.length,
      this.#place(data.length, () => data),
    );
  }

  symlink(file: PartFile): void {
    const target = Buffer.from(file.header.symlinkTarget);
    const place = this.#place(target.length, () => target);
    this.#operation(SPLICE, ...this.#attributes(file), target.length, place);
  }

  whole(file: PartFile, read: BlobPiece['read']): void {
    this.unpackedSize += file.size;
    this.#operation(SPLICE, ...this.#attributes(file), file.size, this.#place(file.size, read));
  }

  patch(file: PartFile, { from, patch }: { from: Checksum; patch: Spooled }): void {
    this.unpackedSize += file.size;
    this.#operation(
      SET_SOURCE,
      this.#place(32, () => checksumToBytes(from)),
    );
    this.#operation(OPEN, ...this.#attributes(file), file.size);
    this.#operation(
      PATCH,
      this.#place(patch.length, () => unpack(patch)),
      patch.length,
    );
    this.#operation(CLOSE);
    // Needless after a close, but every libostree has written it here.
    this.#operation(UNSET_SOURCE);
  }

  copy(file: PartFile, { from, fresh, pieces }: { from: Checksum; fresh: Spooled; pieces: CopyPieces }): void {
    this.unpackedSize += file.size;
    const source = this.#place(32, () => checksumToBytes(from));
    let blob = this.#place(fresh.length, () => unpack(fresh));
    let isSet = false;
    this.#operation(OPEN, ...this.#attributes(file), file.size);
    for (let index = 0; index < pieces.length; index += 2) {
      const length = pieces[index]!;
      const position = pieces[index + 1]!;
      const fromSource = position >= 0;
      if (fromSource && !isSet) this.#operation(SET_SOURCE, source);
      if (!fromSource && isSet) this.#operation(UNSET_SOURCE);
      isSet = fromSource;
      this.#operation(WRITE, length, fromSource ? position : blob);
      if (!fromSource) blob += length;
    }
    this.#operation(CLOSE);
  }

  tables(): PayloadTables {
    return { modes: this.#modes, xattrs: this.#xattrs, operations: Uint8Array.from(this.#operations) };
  }
}

function indexOf(indexes: Map<string, number>, key: string): number {
  const known = indexes.get(key);
  if (known !== undefined) return known;
  indexes.set(key, indexes.size);
  return indexes.size - 1;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
