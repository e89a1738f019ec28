import {
  closeSync,
  constants,
  createReadStream,
  fstatSync,
  openSync,
  readSync,
  realpathSync,
  type Stats,
} from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { systemCode } from '../errors.ts';
import { isUnmodified, requestedRange, type Validators } from './conditions.ts';
import { type ServedName, servedName } from './names.ts';

/** Answers a request for a path of the repository. */
export type RepositoryHandler = (req: IncomingMessage, res: ServerResponse, urlPath: string) => Promise<void>;

/** How a repository is served. */
export interface RepositoryHandlerOptions {
  /** Headers to add to every answer, for example `Access-Control-Allow-Origin`. */
  headers?: Record<string, string>;
}

/** Up to here a file is read and sent in one go; beyond, it is streamed. */
const WHOLE_BYTES = 256 * 1024;
const STREAM_BYTES = 256 * 1024;

const IMMUTABLE = 'public, max-age=31536000, immutable';

/**
 * Serves a repository to OSTree clients from its files: config, objects, refs, summary, deltas and delta indexes,
 * and nothing else that lies in the folder. GET and HEAD, with entity tags, conditional requests and single byte
 * ranges. A missing file is an honest 404.
 *
 * @returns a handler for node:http; `urlPath` is the path below the repository, percent-encoded as it came
 */
export function repositoryHandler(repoPath: string, options: RepositoryHandlerOptions = {}): RepositoryHandler {
  const extra = Object.entries(options.headers ?? {}).flat();
  return async (req, res, urlPath) => {
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      return refuse(res, 405, 'Only GET and HEAD are answered here.', ['Allow', 'GET, HEAD', ...extra]);
    }
    const name = servedName(urlPath);
    if (name === 'malformed') return refuse(res, 400, 'This path is malformed.', extra);
    const file = name && openFile(repoPath, name);
    if (!name || !file) return refuse(res, 404, 'There is no such file in this repository.', extra);
    let owned = true;
    try {
      const { fd, stats } = file;
      const validators = validatorsOf(name, stats);
      const headers = headersOf(name, validators, extra);
      if (isUnmodified(req.headers, validators)) {
        res.writeHead(304, headers);
        res.end();
        return;
      }
      const range = req.headers.range === undefined ? null : requestedRange(req.headers, stats.size, validators);
      if (range === 'unsatisfiable') {
        return refuse(res, 416, 'The file is shorter than that.', [
          'Content-Range',
          `bytes */${stats.size}`,
          'Accept-Ranges',
          'bytes',
          ...extra,
        ]);
      }
      const start = range?.start ?? 0;
      const length = range ? range.end - range.start + 1 : stats.size;
      headers.push('Content-Length', String(length), 'Content-Type', 'application/octet-stream');
      if (range) headers.push('Content-Range', `bytes ${start}-${range.end}/${stats.size}`);
      const status = range ? 206 : 200;
      if (req.method === 'HEAD' || length === 0) {
        res.writeHead(status, headers);
        res.end();
        return;
      }
      if (length <= WHOLE_BYTES) {
        const data = Buffer.allocUnsafe(length);
        if (readFully(fd, data, start) < length) return refuse(res, 500, 'The file was cut short.', extra);
        res.writeHead(status, headers);
        res.end(data);
        return;
      }
      res.writeHead(status, headers);
      owned = false; // the stream closes it, also when the client goes away
      const source = createReadStream('', { fd, start, end: start + length - 1, highWaterMark: STREAM_BYTES });
      await pipeline(source, res).catch(() => res.destroy());
    } finally {
      if (owned) closeSync(file.fd);
    }
  };
}

interface OpenFile {
  fd: number;
  stats: Stats;
}

/**
 * Opens a regular file of the repository, or returns null. Synchronously: for the small files that a pull is
 * made of this takes a fraction of what four trips through the thread pool would.
 */
function openFile(repoPath: string, name: ServedName): OpenFile | null {
  let path = join(repoPath, name.path);
  let fd: number;
  try {
    if (name.kind === 'ref') {
      // An alias is a symlink to another ref; anything else that a link leads to is not ours to serve.
      const real = realpathSync(path);
      if (!real.startsWith(realpathSync(join(repoPath, 'refs')) + sep)) return null;
      path = real;
    }
    // Not blocking, so that a pipe in the folder cannot hang the process.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (NOT_THERE.has(systemCode(error) ?? '')) return null;
    throw error;
  }
  try {
    const stats = fstatSync(fd);
    if (stats.isFile()) return { fd, stats };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return null;
}

const NOT_THERE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'EISDIR', 'ENAMETOOLONG', 'ENXIO', 'EPERM']);

function readFully(fd: number, data: Buffer, start: number): number {
  let length = 0;
  while (length < data.length) {
    const read = readSync(fd, data, length, data.length - length, start + length);
    if (read === 0) break;
    length += read;
  }
  return length;
}

function validatorsOf({ path, kind }: ServedName, stats: Stats): Validators {
  const lastModified = new Date(Math.floor(stats.mtimeMs / 1000) * 1000).toUTCString();
  // The size goes with an object's name, since one content can be compressed in more than one way.
  const etag =
    kind === 'object'
      ? `"${path.slice(8, 10)}${path.slice(11, 73)}-${stats.size.toString(36)}"`
      : `"${stats.size.toString(36)}-${Math.round(stats.mtimeMs * 1000).toString(36)}-${stats.ino.toString(36)}"`;
  return { etag, lastModified };
}

function headersOf({ kind }: ServedName, { etag, lastModified }: Validators, extra: string[]): string[] {
  const cache = kind === 'object' || kind === 'delta' ? IMMUTABLE : 'no-cache';
  const headers = ['ETag', etag, 'Cache-Control', cache, 'Accept-Ranges', 'bytes'];
  headers.push('Last-Modified', lastModified);
  return extra.length > 0 ? headers.concat(extra) : headers;
}

function refuse(res: ServerResponse, status: number, text: string, headers: string[]): void {
  const body = Buffer.from(`${text}\n`);
  const plain = ['Content-Type', 'text/plain; charset=utf-8', 'Content-Length', String(body.length)];
  // A cache must not go on saying that a file is missing when it has been published since.
  res.writeHead(status, [...plain, 'Cache-Control', 'no-store', ...headers]);
  res.end(res.req.method === 'HEAD' ? undefined : body);
}
