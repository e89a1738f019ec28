import { closeSync, type Stats } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { openServedFile, readFully } from './files.ts';

/** A file as it was at some moment. */
export interface KeptFile {
  data: Buffer;
  stats: Stats;
}

/** A signature file and the summary that was in place with it. */
interface Pair {
  signature: KeptFile;
  summary: KeptFile;
}

interface Promised {
  pair: Pair;
  until: number;
}

/** Header by which a proxy tells one client's connection from another's. */
export const CONNECTION_HEADER = 'x-treeline-connection';

/** A client asks for the one right after the other; over a bad line that takes a while. */
const PROMISE_MS = 60_000;
/** Of all that are promised together; a summary that is larger by itself is not kept. */
const MOST_BYTES = 64 * 1024 * 1024;
const MOST_VERSIONS = 256;
const MOST_PROXIED = 4096;
/** Headers by which proxies can be told from clients: a connection of theirs carries requests of many. */
const BY_PROXY = ['via', 'forwarded', 'x-forwarded-for', 'x-real-ip'] as const;

/**
 * Remembers which signature of a summary a connection was given, so that it is given the summary that goes with it,
 * even if another one has been published in between. Only the next request of the connection counts, and only once:
 * whoever asks for the summary alone gets the newest.
 */
export class SummaryPairs {
  readonly #repoPath: string;
  /** The newest ones, so that clients of one version share its bytes. */
  #versions: Pair[] = [];
  readonly #bySocket = new WeakMap<Socket, Promised>();
  readonly #byHeader = new Map<string, Promised>();

  constructor(repoPath: string) {
    this.#repoPath = repoPath;
  }

  /** The signature file as it is now, if the summary that goes with it can be kept for this client; else null. */
  promise(req: IncomingMessage): KeptFile | null {
    const client = clientOf(req);
    if (client === null) return null;
    const pair = this.#current();
    if (!pair) return null;
    const promised = { pair, until: Date.now() + PROMISE_MS };
    if (typeof client !== 'string') this.#bySocket.set(client, promised);
    else {
      this.#byHeader.delete(client); // to the end of the queue
      this.#byHeader.set(client, promised);
      for (const [oldest, { until }] of this.#byHeader) {
        if (this.#byHeader.size <= MOST_PROXIED && until > Date.now()) break;
        this.#byHeader.delete(oldest);
      }
    }
    return pair.signature;
  }

  /** The summary that was promised to this client, or null. @param keep it may ask again (HEAD) */
  redeem(req: IncomingMessage, keep: boolean): KeptFile | null {
    const client = clientOf(req);
    if (client === null) return null;
    const promised = typeof client === 'string' ? this.#byHeader.get(client) : this.#bySocket.get(client);
    if (!keep) {
      if (typeof client === 'string') this.#byHeader.delete(client);
      else this.#bySocket.delete(client);
    }
    if (!promised || promised.until < Date.now() || !this.#versions.includes(promised.pair)) return null;
    return promised.pair.summary;
  }

  /** Another request came: on a connection of its own, a client would have asked for the summary. */
  forget(req: IncomingMessage): void {
    this.#bySocket.delete(req.socket);
  }

  /** What is in place now: the signature is the same before and after the summary was read. */
  #current(): Pair | null {
    for (let tries = 0; tries < 5; tries++) {
      const known = this.#versions[0];
      const [signature, summary] = [this.#open('summary.sig'), this.#open('summary')];
      try {
        if (!signature || !summary) return null;
        if (known && sameFile(known.signature, signature) && sameFile(known.summary, summary)) return known;
        if (signature.stats.size + summary.stats.size > MOST_BYTES) return null;
        const pair = { signature: read(signature), summary: read(summary) };
        const again = this.#open('summary.sig');
        const fits = again !== null && sameFile(pair.signature, again);
        if (again) closeSync(again.fd);
        if (!fits) continue;
        this.#remember(pair);
        return pair;
      } finally {
        if (signature) closeSync(signature.fd);
        if (summary) closeSync(summary.fd);
      }
    }
    return null;
  }

  #open(path: 'summary' | 'summary.sig') {
    return openServedFile(this.#repoPath, { path, kind: 'mutable' });
  }

  #remember(pair: Pair): void {
    let bytes = 0;
    this.#versions = [pair, ...this.#versions].filter(({ summary, signature }, index) => {
      bytes += summary.data.length + signature.data.length;
      return index < MOST_VERSIONS && bytes <= MOST_BYTES;
    });
  }
}

/** What tells this client's requests from those of others; null for one behind a proxy that does not say. */
function clientOf(req: IncomingMessage): Socket | string | null {
  const named = req.headers[CONNECTION_HEADER];
  if (typeof named === 'string' && named.length <= 256) return `${req.socket.remoteAddress} ${named}`;
  return BY_PROXY.some((header) => req.headers[header] !== undefined) ? null : req.socket;
}

function read({ fd, stats }: { fd: number; stats: Stats }): KeptFile {
  const data = Buffer.allocUnsafe(stats.size);
  return { data: data.subarray(0, readFully(fd, data, 0)), stats };
}

function sameFile(kept: KeptFile, { stats }: { stats: Stats }): boolean {
  return (['dev', 'ino', 'size', 'mtimeMs'] as const).every((key) => kept.stats[key] === stats[key]);
}
