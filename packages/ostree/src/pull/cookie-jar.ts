import { appendFile } from 'node:fs/promises';
import { OstreeError } from '../errors.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { type Cookie, formatCookie, readCookies } from '../http/cookies.ts';
import { isRemoteName } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { cookiesPath } from './remote-config.ts';

const YEARS = 25;

/** Adds a cookie to those that are sent to a remote, for the next 25 years. Throws `invalid`. */
export async function addCookie(
  repo: Repo,
  remote: string,
  cookie: Pick<Cookie, 'domain' | 'path' | 'name' | 'value'>,
): Promise<void> {
  const expires = new Date();
  expires.setUTCFullYear(expires.getUTCFullYear() + YEARS);
  const line = formatCookie({
    ...cookie,
    includeSubdomains: cookie.domain.startsWith('.'),
    secure: false,
    expires: Math.floor(expires.getTime() / 1000),
  });
  await appendFile(jarOf(repo, remote), line, { mode: 0o600 });
}

/** Takes a cookie out of those that are sent to a remote. Throws `not-found`. */
export async function deleteCookie(
  repo: Repo,
  remote: string,
  { domain, path, name }: Pick<Cookie, 'domain' | 'path' | 'name'>,
): Promise<void> {
  const jar = jarOf(repo, remote);
  const cookies = await readCookies(jar);
  const left = cookies.filter((one) => one.domain !== domain || one.path !== path || one.name !== name);
  if (left.length === cookies.length) throw new OstreeError('not-found', 'Cookie not found in jar');
  await writeFileDurably(jar, left.map(formatCookie).join(''), { mode: 0o600 });
}

/** The cookies that are sent to a remote. */
export async function listCookies(repo: Repo, remote: string): Promise<Cookie[]> {
  return readCookies(jarOf(repo, remote));
}

function jarOf(repo: Repo, remote: string): string {
  if (!isRemoteName(remote)) throw new OstreeError('invalid', `Invalid remote name ${remote}`);
  return cookiesPath(repo, remote);
}
