import { OstreeError } from '../errors.ts';

/** A proxy to send requests through. */
export interface ProxyServer {
  /** Without credentials. */
  url: URL;
  /** What to send as Proxy-Authorization. */
  authorization?: string;
}

/**
 * The proxy that the environment names for a URL, as curl reads it: `http_proxy` (small letters only: CGI programs
 * get the other from their clients), `https_proxy`, `all_proxy`, and no proxy for the hosts in `no_proxy`.
 *
 * @param configured one that was set for the remote; it goes before the environment's, but not before `no_proxy`
 * @throws OstreeError `invalid` for what is no URL, `unsupported` for SOCKS
 */
export function proxyFor(
  url: URL,
  configured: string | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
): ProxyServer | null {
  const secure = url.protocol === 'https:';
  const named =
    configured ||
    (secure ? env.https_proxy || env.HTTPS_PROXY : env.http_proxy) ||
    env.all_proxy ||
    env.ALL_PROXY ||
    '';
  if (named === '' || isExempt(url, env.no_proxy || env.NO_PROXY || '')) return null;
  return parseProxy(named);
}

function parseProxy(text: string): ProxyServer {
  let url: URL;
  try {
    url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  } catch (cause) {
    throw new OstreeError('invalid', 'the address of the proxy is not a URL', { cause });
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new OstreeError('unsupported', `a proxy of the kind ${url.protocol.slice(0, -1)} is not supported`, {
      hint: 'Name an HTTP proxy: http://host:port.',
    });
  }
  const authorization = basicAuthorization(url);
  url.username = '';
  url.password = '';
  return { url, ...(authorization === undefined ? {} : { authorization }) };
}

/** The Authorization header for what a URL says before its host, if it says anything. */
export function basicAuthorization({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined;
  return `Basic ${Buffer.from(`${unescapePercent(username)}:${unescapePercent(password)}`).toString('base64')}`;
}

function unescapePercent(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone % is itself
  }
}

/** Whether a host is in a list like `localhost,.example.com,10.0.0.0/8,*`; a domain covers all below it. */
function isExempt(url: URL, list: string): boolean {
  const host = hostOf(url);
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  for (const entry of list.toLowerCase().split(/[\s,]+/)) {
    if (entry === '') continue;
    if (entry === '*') return true;
    const [, name = '', entryPort] = /^(.*?)(?::(\d+))?$/.exec(entry.replace(/^\[(.*)\]/, '$1')) ?? [];
    if (isInNetwork(host, entry)) return true;
    if (host === entry.replace(/[[\]]/g, '')) return true;
    if (entryPort !== undefined && entryPort !== port) continue;
    const domain = name.replace(/^\*?\./, '').replace(/\.$/, '');
    if (domain !== '' && (host === domain || host.endsWith(`.${domain}`))) return true;
  }
  return false;
}

/** IPv4 networks, as in `10.0.0.0/8`. */
function isInNetwork(host: string, entry: string): boolean {
  const [network = '', bits = ''] = entry.split('/');
  const [address, base] = [ipv4(host), ipv4(network)];
  if (address === null || base === null || !/^\d{1,2}$/.test(bits) || Number(bits) > 32) return false;
  const size = 2 ** (32 - Number(bits));
  return Math.floor(address / size) === Math.floor(base / size);
}

function ipv4(text: string): number | null {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return null;
  return text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** The host as a socket wants it: IPv6 addresses without brackets. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}
