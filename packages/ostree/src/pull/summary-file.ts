import { readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { readOneXattr, writeXattrs } from '../fs/syscalls.ts';
import { MAX_METADATA_BYTES } from '../repo/objects.ts';
import { isRemoteName } from '../repo/refs.ts';
import { decodeSignatures, type Verification, verifySigned } from '../sign/remote-verification.ts';
import { readBody } from './http.ts';
import type { Remote } from './remote.ts';

/** A summary and its signatures as a remote has them. */
export interface SummaryFiles {
  summary: Buffer;
  signature: Buffer | null;
}

export interface SummaryOptions {
  /** The remote's name: what the cache calls it. Without one nothing is cached. */
  remote: string | undefined;
  verification: Verification | null;
  /** Folder of caches, or null to use none. */
  cache: string | null;
  /** Refuse a cache in which signature and summary do not fit together, instead of fetching the summary again. */
  strictCache?: boolean | undefined;
}

interface Fetched {
  data: Buffer;
  etag: string | undefined;
  modified: Date | null;
  /** The server says that it is what is in the cache. */
  unchanged: boolean;
}

const ETAG_XATTR = 'user.etag';

/**
 * Gets the summary of a remote, and checks its signatures if they are demanded. A signed summary is cached in
 * `summaries/REMOTE`, as libostree does: as long as the signature is the same, the summary is not asked for.
 *
 * @returns null when it has none
 * @throws OstreeError `signature`, `not-found` when one is demanded and there is none, `network`
 */
export async function fetchSummary(remote: Remote, options: SummaryOptions): Promise<SummaryFiles | null> {
  const { verification } = options;
  const cache = openCache(remote, options);
  const signature = await fetchFile(remote, 'summary.sig', cache);
  let cached = signature && cache ? cache.summaryFor(signature) : null;
  const summary = cached ?? (await fetchFile(remote, 'summary', cache));
  if (verification) assertThere(summary !== null, signature !== null, verification);
  if (!summary) return null;
  let files: SummaryFiles = { summary: summary.data, signature: signature?.data ?? null };
  let newest = summary;
  if (verification) {
    try {
      await verify(verification, files);
    } catch (error) {
      if (!cached && !summary.unchanged) throw error;
      if (options.strictCache) {
        throw new OstreeError(
          'signature',
          `Remote ${options.remote} cached summary invalid and OSTREE_REPO_TEST_ERROR_INVALID_CACHE specified`,
          { cause: error },
        );
      }
      // What was cached does not fit the signature: the remote's own may.
      const again = await fetchFile(remote, 'summary', null);
      if (!again) throw error;
      cached = null;
      newest = again;
      files = { summary: again.data, signature: files.signature };
      await verify(verification, files);
    }
  }
  if (cache && signature && !(cached || (signature.unchanged && newest.unchanged))) {
    await cache.save('', newest);
    await cache.save('.sig', signature);
  }
  return files;
}

function assertThere(summary: boolean, signature: boolean, verification: Verification): void {
  const what = verification.gpg ? 'GPG verification' : 'Signature verification';
  const key = verification.gpg ? 'gpg-verify-summary' : 'sign-verify-summary';
  const hint = `(use ${key}=false in remote config to disable)`;
  if (!summary) throw new OstreeError('signature', `${what} enabled, but no summary found ${hint}`);
  if (!signature) throw new OstreeError('signature', `${what} enabled, but no summary.sig found ${hint}`);
}

async function verify(verification: Verification, { summary, signature }: SummaryFiles): Promise<void> {
  await verifySigned(verification, summary, signature && decodeSignatures(signature), 'summary');
}

async function fetchFile(remote: Remote, name: string, cache: SummaryCache | null): Promise<Fetched | null> {
  if (!remote.source) {
    const data = await remote.file(name, MAX_METADATA_BYTES);
    return data && { data, etag: undefined, modified: null, unchanged: false };
  }
  const suffix = name === 'summary' ? '' : '.sig';
  const known = cache?.load(suffix) ?? null;
  return remote.source.get(
    name,
    async (reply): Promise<Fetched> => {
      if (reply.status === 304 && known) {
        await readBody(reply, MAX_METADATA_BYTES);
        return { ...known, unchanged: true };
      }
      return {
        data: await readBody(reply, MAX_METADATA_BYTES),
        etag: reply.headers.etag,
        modified: lastModified(reply.headers['last-modified'], reply.headers.date),
        unchanged: false,
      };
    },
    () => known?.conditions,
  );
}

/** When a file changed last, unless it may change again within the second that tells its versions apart. */
function lastModified(changed: string | undefined, now: string | undefined): Date | null {
  const time = Date.parse(changed ?? '');
  const date = Date.parse(now ?? '');
  return date - time >= 2000 ? new Date(time) : null;
}

interface CachedFile extends Fetched {
  /** Headers of a request for something newer. */
  conditions: Record<string, string>;
}

interface SummaryCache {
  load(suffix: '' | '.sig'): CachedFile | null;
  /** The cached summary, if this is the signature that it came with. */
  summaryFor(signature: Fetched): Fetched | null;
  save(suffix: '' | '.sig', file: Fetched): Promise<void>;
}

function openCache(remote: Remote, { remote: name, cache }: SummaryOptions): SummaryCache | null {
  if (cache === null || remote.repo || name === undefined || !isRemoteName(name)) return null;
  const path = (suffix: string) => join(cache, 'summaries', name + suffix);
  const load = (suffix: '' | '.sig'): CachedFile | null => {
    try {
      const file = path(suffix);
      const data = readFileSync(file);
      const etag = readOneXattr(file, ETAG_XATTR)?.toString('latin1');
      const modified = statSync(file).mtime;
      const conditions: Record<string, string> = {};
      if (etag !== undefined && /^[\x21-\x7e]{1,256}$/.test(etag)) conditions['if-none-match'] = etag;
      else if (modified.getTime() > 0) conditions['if-modified-since'] = modified.toUTCString();
      return { data, etag, modified, unchanged: true, conditions };
    } catch (error) {
      if (systemCode(error) !== undefined) return null; // a cache that cannot be read is no cache
      throw error;
    }
  };
  return {
    load,
    summaryFor(signature) {
      if (!load('.sig')?.data.equals(signature.data)) return null;
      const summary = load('');
      // Without the summary the signature is good for nothing, and must not keep it from being asked for.
      if (!summary) rmSync(path('.sig'), { force: true });
      return summary;
    },
    async save(suffix, { data, etag, modified }) {
      const file = path(suffix);
      await writeFileDurably(file, data);
      try {
        if (etag !== undefined) writeXattrs(file, [[Buffer.from(ETAG_XATTR), Buffer.from(etag, 'latin1')]]);
        utimesSync(file, new Date(), modified ?? new Date(0));
      } catch {
        // Only spares a request.
      }
    },
  };
}
