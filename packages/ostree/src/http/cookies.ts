import { readFile } from 'node:fs/promises';
import { OstreeError, systemCode } from '../errors.ts';
import { hostOf } from './proxy.ts';

/** A cookie as a jar in Netscape's format has it, one to a line: what curl and libsoup read and write. */
export interface Cookie {
  /** A host, or with a dot before it everything below one. */
  domain: string;
  /** Also for hosts below the domain. */
  includeSubdomains: boolean;
  path: string;
  secure: boolean;
  /** Seconds since 1970; 0 is for as long as the session. */
  expires: number;
  name: string;
  value: string;
}

const HTTP_ONLY = '#HttpOnly_';
const MAX_JAR_BYTES = 1024 * 1024;

/** The cookies of a jar, what is no cookie left out. */
export function parseCookies(text: string): Cookie[] {
  const found: Cookie[] = [];
  for (const raw of text.split('\n')) {
    const line = raw.startsWith(HTTP_ONLY) ? raw.slice(HTTP_ONLY.length) : raw;
    if (line.startsWith('#')) continue;
    const [domain, subdomains, path, secure, expires, name, value] = line.trim().split('\t');
    if (!domain || !path || !name || value === undefined || !/^\d{1,15}$/.test(expires ?? '')) continue;
    found.push({
      domain,
      includeSubdomains: subdomains === 'TRUE',
      path,
      secure: secure === 'TRUE',
      expires: Number(expires),
      name,
      value,
    });
  }
  return found;
}

/** A cookie as a line of a jar. Throws `invalid` for what cannot stand in one. */
export function formatCookie({ domain, includeSubdomains, path, secure, expires, name, value }: Cookie): string {
  const fields = [domain, truth(includeSubdomains), path, truth(secure), String(expires), name, value];
  for (const field of fields) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    if (field === '' || /[\x00-\x20\x7f;]/.test(field)) {
      throw new OstreeError('invalid', `${JSON.stringify(field)} cannot be a part of a cookie`, {
        hint: 'Nothing of a cookie is empty or has spaces, control characters or semicolons.',
      });
    }
  }
  return `${fields.join('\t')}\n`;
}

function truth(value: boolean): string {
  return value ? 'TRUE' : 'FALSE';
}

/** The cookies in a file; none where there is no file. */
export async function readCookies(path: string): Promise<Cookie[]> {
  try {
    const text = await readFile(path, 'latin1');
    if (text.length > MAX_JAR_BYTES) throw new OstreeError('invalid', `${path}: too large for a jar of cookies`);
    return parseCookies(text);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** What to send as Cookie to a URL: those for its host and path that have not expired, the longest path first. */
export function cookiesFor(cookies: readonly Cookie[], url: URL, path: string): string {
  const host = hostOf(url).toLowerCase();
  const now = Date.now() / 1000;
  return cookies
    .filter(
      (cookie) =>
        isForHost(cookie, host) &&
        isForPath(cookie.path, path.replace(/\?.*/, '')) &&
        (!cookie.secure || url.protocol === 'https:') &&
        (cookie.expires === 0 || cookie.expires > now),
    )
    .sort((a, b) => b.path.length - a.path.length)
    .map(({ name, value }) => `${name}=${value}`)
    .join('; ')
    .replace(/[^\x20-\x7e\x80-\xff]/g, '');
}

function isForHost({ domain, includeSubdomains }: Cookie, host: string): boolean {
  const name = domain.replace(/^\./, '').toLowerCase();
  return host === name || ((includeSubdomains || domain.startsWith('.')) && host.endsWith(`.${name}`));
}

function isForPath(prefix: string, path: string): boolean {
  return path === prefix || path.startsWith(prefix.endsWith('/') ? prefix : `${prefix}/`);
}
