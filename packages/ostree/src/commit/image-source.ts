import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, lstatSync, realpathSync, statSync } from 'node:fs';
import { join, sep } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { OstreeError } from '../errors.ts';
import { assertFreeSpace, usableBytes } from '../repo/free-space.ts';
import type { Transaction } from '../repo/transaction.ts';
import { decompressed } from './decompress.ts';
import { TarReader } from './tar-entries.ts';

/** Where the files of a container image are: a folder or an archive of it. */
export interface ImageSource {
  readonly path: string;
  /** Bytes of a file; null when there is none of this name. */
  size(name: string): number | null;
  open(name: string): Readable;
}

/** Manifests are a few kilobytes; nobody is to make us load more than this as one. */
const MAX_JSON_BYTES = 4 * 1024 * 1024;

/** @throws OstreeError `not-found`, `invalid` for a file that is no archive */
export async function openImageSource(tx: Transaction, path: string): Promise<ImageSource> {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) throw new OstreeError('not-found', `${path}: No such file or directory`);
  return stats.isDirectory() ? folderSource(path) : archiveSource(tx, path);
}

function folderSource(path: string): ImageSource {
  const root = realpathSync(path) + sep;
  const locate = (name: string): string | null => {
    const file = join(path, name);
    const stats = statSync(file, { throwIfNoEntry: false });
    // A symlink could lead to any file of this machine.
    return stats?.isFile() && realpathSync(file).startsWith(root) ? file : null;
  };
  return {
    path,
    size(name) {
      const file = locate(name);
      return file === null ? null : statSync(file).size;
    },
    open(name) {
      const file = locate(name);
      if (file === null) throw missing(path, name);
      return createReadStream(file, { highWaterMark: 256 * 1024 });
    },
  };
}

/** How many symlinks may lead from one to the next: `docker save` made them for layers that images share. */
const MAX_LINKS = 8;

type Member = { offset: number; size: number } | { link: string };

/** What an archive has is found by one pass over it; a compressed one is unpacked into the transaction first. */
async function archiveSource(tx: Transaction, path: string): Promise<ImageSource> {
  const plain = await unpacked(tx, path);
  const members = new Map<string, Member>();
  const stream = createReadStream(plain, { highWaterMark: 256 * 1024 });
  try {
    const reader = new TarReader(stream);
    for (let entry = await reader.next(); entry; entry = await reader.next()) {
      const name = cleanName(entry.path);
      if (entry.kind === 'file') members.set(name, { offset: entry.contentOffset, size: entry.size });
      else if (entry.kind === 'link') members.set(name, { link: cleanName(entry.target) });
      else if (entry.kind === 'symlink') members.set(name, { link: cleanName(join(name, '..', entry.target)) });
      tx.signal?.throwIfAborted();
    }
  } finally {
    stream.destroy();
  }
  const find = (name: string): { offset: number; size: number } | null => {
    let member = members.get(cleanName(name));
    for (let links = 0; member && 'link' in member && links < MAX_LINKS; links++) member = members.get(member.link);
    return member && 'size' in member ? member : null;
  };
  return {
    path,
    size: (name) => find(name)?.size ?? null,
    open(name) {
      const member = find(name);
      if (!member) throw missing(path, name);
      if (member.size === 0) return Readable.from([]);
      const { offset, size } = member;
      return createReadStream(plain, { start: offset, end: offset + size - 1, highWaterMark: 256 * 1024 });
    },
  };
}

async function unpacked(tx: Transaction, path: string): Promise<string> {
  const stream = createReadStream(path, { highWaterMark: 256 * 1024 });
  try {
    const opened = await decompressed(stream);
    if (opened.isPlain) return path;
    const target = tx.temporaryPath();
    const room = usableBytes(tx.repo);
    let bytes = 0;
    const watch = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        bytes += chunk.length;
        try {
          if (bytes > room) assertFreeSpace(tx.repo, bytes);
          done(null, chunk);
        } catch (error) {
          done(error as Error);
        }
      },
    });
    await pipeline(opened.stream, watch, createWriteStream(target, { flags: 'wx', mode: 0o600 }));
    return target;
  } finally {
    stream.destroy();
  }
}

function cleanName(name: string): string {
  return name
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}

function missing(path: string, name: string): OstreeError {
  return new OstreeError('not-found', `${path}: the image has no ${name}`);
}

/** A descriptor of the OCI image format: what points to a blob. */
export interface Descriptor {
  mediaType?: string;
  digest: string;
  size?: number;
  platform?: { os?: string; architecture?: string; variant?: string };
  annotations?: Record<string, string>;
}

/** Opens a blob; its stream fails at its end unless it is as long, and has the digest, that the descriptor says. */
export function openBlob(source: ImageSource, { digest, size }: Descriptor): Readable {
  const [, algorithm, hex] = /^(sha256|sha512):([0-9a-f]{64}|[0-9a-f]{128})$/.exec(String(digest)) ?? [];
  if (!algorithm || !hex || hex.length !== (algorithm === 'sha256' ? 64 : 128)) {
    throw new OstreeError('unsupported', `${source.path}: digest ${JSON.stringify(digest)} is none that is known`);
  }
  const name = `blobs/${algorithm}/${hex}`;
  const found = source.size(name);
  if (found !== null && size !== undefined && found !== size) {
    throw new OstreeError('corrupt', `${source.path}: ${name} has ${found} bytes, not the ${size} that are said`);
  }
  return verified(source.open(name), { algorithm, hex, what: `${source.path}: ${name}` });
}

/** A stream that fails at its end unless it has this hash. */
export function verified(
  stream: Readable,
  { algorithm, hex, what }: { algorithm: string; hex: string; what: string },
): Readable {
  const hash = createHash(algorithm);
  const check = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
    flush(done) {
      const actual = hash.digest('hex');
      done(actual === hex ? null : new OstreeError('corrupt', `${what}: its bytes have the digest ${actual}`));
    },
  });
  stream.on('error', (error) => check.destroy(error));
  check.on('close', () => stream.destroy());
  return stream.pipe(check);
}

/** Reads a small JSON document, to its end. */
export async function readJson(stream: Readable, what: string): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_JSON_BYTES) throw new OstreeError('invalid', `${what}: longer than ${MAX_JSON_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw new OstreeError('invalid', `${what}: no JSON: ${(cause as Error).message}`, { cause });
  }
}

/** The part of `PATH:TAG` that exists, and what comes after it. */
export function splitTag(text: string): { path: string; tag: string | null } {
  const colon = text.lastIndexOf(':');
  if (colon < 1 || lstatSync(text, { throwIfNoEntry: false })) return { path: text, tag: null };
  return { path: text.slice(0, colon), tag: text.slice(colon + 1) };
}
