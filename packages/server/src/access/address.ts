import type { IncomingMessage } from 'node:http';
import { BlockList, isIP, isIPv6 } from 'node:net';
import { z } from 'zod';

/** An address, or a network of them: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`. */
export const Network = z.string().refine(isNetwork, 'expected an IP address, or a network such as 10.0.0.0/8');

/** Remote address of a request: see `createAddressReader`. Null when the connection has gone. */
export type AddressReader = (req: Pick<IncomingMessage, 'headers' | 'socket'>) => string | null;

/**
 * Reads where requests come from. `X-Forwarded-For` is believed only of the proxies that are named, from its end: what
 * stands before the first address that is no trusted proxy could have been written by anybody.
 */
export function createAddressReader(trustedProxies: readonly string[]): AddressReader {
  const trusted = networks(trustedProxies);
  return (req) => {
    const { remoteAddress } = req.socket;
    let address = remoteAddress === undefined ? null : plain(remoteAddress);
    if (trustedProxies.length === 0) return address;
    const header = req.headers['x-forwarded-for'];
    const forwarded = (Array.isArray(header) ? header.join(',') : (header ?? '')).split(',');
    while (address !== null && trusted(address)) {
      const next = plain((forwarded.pop() ?? '').trim());
      if (next === null) break;
      address = next;
    }
    return address;
  };
}

/** Whether an address is in one of some networks. */
export function networks(list: readonly string[]): (address: string) => boolean {
  const blocks = new BlockList();
  for (const text of list) {
    const [address = '', bits] = text.split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    if (bits === undefined) blocks.addAddress(address, family);
    else blocks.addSubnet(address, Number(bits), family);
  }
  return (address) => blocks.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

/** What counts as one client: an IPv4 address, or the /64 network that one IPv6 customer has at least. */
export function clientKey(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('%', 1)[0]!.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...Array<string>(gap).fill('0'), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}

/** An address without port, brackets and the IPv6 form of IPv4; null when it is none. */
function plain(text: string): string | null {
  const bare = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(text)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(text)?.[1] ?? text;
  const address = /^::ffff:([\d.]+)$/i.exec(bare)?.[1] ?? bare;
  return isIP(address) === 0 ? null : address;
}

function isNetwork(text: string): boolean {
  const match = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text);
  const family = isIP(match?.[1] ?? '');
  return family !== 0 && (match?.[2] === undefined || Number(match[2]) <= (family === 4 ? 32 : 128));
}
