import { closeSync, createReadStream, type Stats } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { isUnmodified, requestedRange, type Validators } from './conditions.ts';
import { openServedFile, readFully } from './files.ts';
import { type ServedName, servedName } from './names.ts';
import { SummaryPairs } from './summary-pairs.ts';

/** Answers a request for a path of the repository. */
export type RepositoryHandler = (req: IncomingMessage, res: ServerResponse, urlPath: string) => Promise<void>;

/** How a repository is served. */
export interface RepositoryHandlerOptions {
  /** Headers to add to every answer, for example `Access-Control-Allow-Origin`. */
  headers?: Record<string, string>;
  /**
   * Not everybody may read it: a cache that several people share must not keep what one of them was given. Default
   * false. Who may is for the caller to find out.
   */
  private?: boolean;
}

/** Up to here a file is read and sent in one go; beyond, it is streamed. */
const WHOLE_BYTES = 256 * 1024;
const STREAM_BYTES = 256 * 1024;

const YEAR = 'max-age=31536000, immutable';

/** What is sent: an open file, or the bytes of one that may have been replaced since. */
interface Content {
  stats: Stats;
  source: { fd: number } | { data: Buffer };
}

/**
 * Serves a repository to OSTree clients from its files: config, objects, refs, summary, deltas and delta indexes,
 * and nothing else that lies in the folder. GET and HEAD, with entity tags, conditional requests and single byte
 * ranges. A missing file is an honest 404.
 *
 * A connection that was given `summary.sig` is given the summary that goes with it next, even if another one came in
 * between. Behind a proxy, which shares its connections among clients, the header `X-Treeline-Connection` tells them
 * apart: any text that is another for each connection to the proxy. Where a proxy says nothing, nothing is paired.
 *
 * @returns a handler for node:http; `urlPath` is the path below the repository, percent-encoded as it came
 */
export function repositoryHandler(repoPath: string, options: RepositoryHandlerOptions = {}): RepositoryHandler {
  const extra = Object.entries(options.headers ?? {}).flat();
  const cacheControl = (kind: ServedName['kind']): string => {
    const forEver = kind === 'object' || kind === 'delta';
    if (options.private) return forEver ? `private, ${YEAR}` : 'private, no-cache';
    return forEver ? `public, ${YEAR}` : 'no-cache';
  };
  const pairs = new SummaryPairs(repoPath);
  const contentOf = (req: IncomingMessage, name: ServedName): Content | null => {
    if (name.path === 'summary.sig' || name.path === 'summary') {
      const kept = name.path === 'summary' ? pairs.redeem(req, req.method === 'HEAD') : pairs.promise(req);
      if (kept) return { stats: kept.stats, source: { data: kept.data } };
    } else pairs.forget(req);
    const file = openServedFile(repoPath, name);
    return file && { stats: file.stats, source: { fd: file.fd } };
  };
  return async (req, res, urlPath) => {
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      return refuse(res, 405, 'Only GET and HEAD are answered here.', ['Allow', 'GET, HEAD', ...extra]);
    }
    const name = servedName(urlPath);
    if (name === 'malformed') return refuse(res, 400, 'This path is malformed.', extra);
    const content = name && contentOf(req, name);
    if (!content) return refuse(res, 404, 'There is no such file in this repository.', extra);
    await send(res, content, {
      validators: validatorsOf(name, content.stats),
      cacheControl: cacheControl(name.kind),
      extra,
    });
  };
}

interface Described {
  validators: Validators;
  cacheControl: string;
  extra: string[];
}

/** Answers with all of it, a part of it, or that the client has it. Closes the file. */
async function send(
  res: ServerResponse,
  { stats, source }: Content,
  { validators, cacheControl, extra }: Described,
): Promise<void> {
  const { req } = res;
  let owned = 'fd' in source ? source.fd : null;
  try {
    const headers = ['ETag', validators.etag, 'Cache-Control', cacheControl, 'Accept-Ranges', 'bytes'];
    headers.push('Last-Modified', validators.lastModified, ...extra);
    if (isUnmodified(req.headers, validators)) {
      res.writeHead(304, headers);
      res.end();
      return;
    }
    const range = req.headers.range === undefined ? null : requestedRange(req.headers, stats.size, validators);
    if (range === 'unsatisfiable') {
      const whole = ['Content-Range', `bytes */${stats.size}`, 'Accept-Ranges', 'bytes', ...extra];
      return refuse(res, 416, 'The file is shorter than that.', whole);
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
    if ('data' in source) {
      if (source.data.length < start + length) return refuse(res, 500, 'The file was cut short.', extra);
      res.writeHead(status, headers);
      res.end(source.data.subarray(start, start + length));
      return;
    }
    if (length <= WHOLE_BYTES) {
      const data = Buffer.allocUnsafe(length);
      if (readFully(source.fd, data, start) < length) return refuse(res, 500, 'The file was cut short.', extra);
      res.writeHead(status, headers);
      res.end(data);
      return;
    }
    res.writeHead(status, headers);
    owned = null; // the stream closes it, also when the client goes away
    const stream = createReadStream('', { fd: source.fd, start, end: start + length - 1, highWaterMark: STREAM_BYTES });
    await pipeline(stream, res).catch(() => res.destroy());
  } finally {
    if (owned !== null) closeSync(owned);
  }
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

function refuse(res: ServerResponse, status: number, text: string, headers: string[]): void {
  const body = Buffer.from(`${text}\n`);
  const plain = ['Content-Type', 'text/plain; charset=utf-8', 'Content-Length', String(body.length)];
  // A cache must not go on saying that a file is missing when it has been published since.
  res.writeHead(status, [...plain, 'Cache-Control', 'no-store', ...headers]);
  res.end(res.req.method === 'HEAD' ? undefined : body);
}
