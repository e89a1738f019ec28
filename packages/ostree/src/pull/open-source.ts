import { OstreeError } from '../errors.ts';
import { MAX_METADATA_BYTES } from '../repo/objects.ts';
import { type HttpOptions, HttpSource } from './http.ts';
import { assertIsFile, parseMetalink } from './metalink.ts';

const MIRRORLIST = 'mirrorlist=';
const MAX_LIST_BYTES = 1024 * 1024;
const MAX_MIRRORS = 64;

/** Where a repository is served. */
export interface HttpPlaces {
  /** Where objects and deltas are, if not where the rest is: http(s), or a list of mirrors (`mirrorlist=URL`). */
  contentUrl?: string | undefined;
  /** Where a metalink of the summary is, which then goes before all else that says where the repository is. */
  metalink?: string | undefined;
}

/** Whether an address is one of HTTP, or of a list of mirrors. */
export function isHttpAddress(url: string): boolean {
  return /^(mirrorlist=)?https?:/i.test(url);
}

/**
 * Finds out where a repository is served. Of a list of mirrors those before the first that has a config are left
 * out. A metalink's summary is checked against what it says, and taken from there.
 *
 * @param url `http://…`, `https://…` or `mirrorlist=URL` of a file with one URL to a line
 * @throws OstreeError `invalid` for addresses and lists that make no sense, `network`, `not-found`
 */
export async function openHttpSource(url: string, options: HttpOptions & HttpPlaces): Promise<HttpSource> {
  const { contentUrl, metalink } = options;
  if (metalink !== undefined) {
    const { urls, summary } = await resolveMetalink(metalink, options);
    const contentUrls = contentUrl === undefined ? undefined : await expand(contentUrl, options);
    return new HttpSource(urls, options, { contentUrls, preloaded: new Map([['summary', summary]]) });
  }
  const urls = await expand(url, options);
  const contentUrls = contentUrl === undefined || contentUrl === url ? undefined : await expand(contentUrl, options);
  return new HttpSource(urls, options, { contentUrls });
}

async function expand(url: string, options: HttpOptions): Promise<string[]> {
  return url.startsWith(MIRRORLIST) ? resolveMirrors(url.slice(MIRRORLIST.length), options) : [url];
}

async function resolveMirrors(listUrl: string, options: HttpOptions): Promise<string[]> {
  let text: Buffer | null;
  try {
    text = await download(listUrl, MAX_LIST_BYTES, options);
  } catch (cause) {
    if (!(cause instanceof OstreeError)) throw cause;
    throw new OstreeError(cause.code, `While fetching mirrorlist '${shown(listUrl)}': ${cause.message}`, { cause });
  }
  if (!text) throw new OstreeError('not-found', `While fetching mirrorlist '${shown(listUrl)}': there is no such file`);
  const mirrors = parseMirrorlist(text.toString('utf8'));
  for (const [index, mirror] of mirrors.entries()) {
    if (await answers(mirror, options)) return mirrors.slice(index);
  }
  throw new OstreeError('not-found', `No valid mirrors were found in mirrorlist '${shown(listUrl)}'`, {
    hint: 'It is to have a URL on each line, below which config, objects and refs are.',
  });
}

/** The mirrors of a list: a URL to a line, comments with `#`; what is not http or https is passed over. */
export function parseMirrorlist(text: string): string[] {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => /^https?:\/\//i.test(line) && URL.canParse(line)).slice(0, MAX_MIRRORS);
}

async function answers(mirror: string, options: HttpOptions): Promise<boolean> {
  // There are others: this one is not worth many tries.
  const source = new HttpSource(mirror, { ...options, retries: Math.min(1, options.retries ?? 1) });
  try {
    return (await source.bytes('config', MAX_LIST_BYTES)) !== null;
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof OstreeError) return false;
    throw error;
  } finally {
    source.close();
  }
}

/** The summary that a metalink means, and the repositories that are said to have it, the one it came from first. */
async function resolveMetalink(url: string, options: HttpOptions): Promise<{ urls: string[]; summary: Buffer }> {
  const text = await download(url, MAX_METADATA_BYTES, options);
  if (!text) throw new OstreeError('not-found', `${shown(url)}: there is no such metalink`);
  const file = parseMetalink(text.toString('utf8'), 'summary', shown(url));
  let failure: unknown;
  for (const target of file.urls) {
    try {
      const summary = await download(target, MAX_METADATA_BYTES, options);
      if (!summary) throw new OstreeError('not-found', `${shown(target)}: there is no such file`);
      assertIsFile(file, summary);
      const others = file.urls.filter((one) => new URL(one).pathname.endsWith('/summary'));
      return { urls: [...new Set([target, ...others].map((one) => new URL('.', one).href))], summary };
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof OstreeError)) throw error;
      failure = error;
    }
  }
  throw new OstreeError(
    'network',
    `Exhausted ${file.urls.length} metalink targets, last error: ${(failure as OstreeError).message}`,
    { cause: failure },
  );
}

/** A file at a URL that need not be in a repository. */
async function download(url: string, limit: number, options: HttpOptions): Promise<Buffer | null> {
  if (!URL.canParse(url) || !/^https?:/i.test(url)) {
    throw new OstreeError('invalid', `${JSON.stringify(shown(url))} is not an http or https URL`);
  }
  const whole = new URL(url);
  const source = new HttpSource(new URL('.', whole).href, options);
  try {
    return await source.bytes(whole.pathname.slice(whole.pathname.lastIndexOf('/') + 1) + whole.search, limit);
  } finally {
    source.close();
  }
}

/** A URL as it may be shown: without a password. */
function shown(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//');
}
