import { createSocket } from 'node:dgram';
import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { CliError } from '../errors.ts';

/** Addresses that may ask: this machine, and those that were named. */
export class Peers {
  readonly #list = new BlockList();
  readonly #named: string[] = [];

  constructor() {
    this.#list.addSubnet('127.0.0.0', 8);
    this.#list.addAddress('::1', 'ipv6');
    // What this machine sends to its own address comes from there.
    for (const own of Object.values(networkInterfaces()).flat()) {
      if (own) this.#list.addAddress(own.address, own.family === 'IPv6' ? 'ipv6' : 'ipv4');
    }
  }

  /** As they were named. */
  get named(): readonly string[] {
    return this.#named;
  }

  /**
   * Lets an address in, or all of a network (`192.168.1.0/24`).
   *
   * @throws CliError `usage`
   */
  allow(text: string): void {
    const [address = '', prefix, more] = text.split('/');
    const family = isIP(address);
    const bits = prefix === undefined ? null : Number(prefix);
    const isPrefix = bits === null || (/^\d{1,3}$/.test(prefix!) && bits <= (family === 6 ? 128 : 32));
    if (family === 0 || more !== undefined || !isPrefix) {
      throw new CliError('usage', `--allow takes addresses and networks: ${text}`, {
        hint: 'Write it like this: --allow 192.168.1.77 or --allow 192.168.1.0/24. For a device: --device ID',
      });
    }
    const type = family === 6 ? 'ipv6' : 'ipv4';
    if (bits === null) this.#list.addAddress(address, type);
    else this.#list.addSubnet(address, bits, type);
    this.#named.push(text);
  }

  allows(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.#list.check(address, family === 6 ? 'ipv6' : 'ipv4');
  }
}

/**
 * The address of this machine that a peer sees: the one from which the system would send to it. Nothing is sent.
 *
 * @param peer an address, or a network
 */
export async function addressTowards(peer: string): Promise<string | null> {
  const [address = ''] = peer.split('/');
  const family = isIP(address);
  if (family === 0) return null;
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
  try {
    return await new Promise<string>((resolve, reject) => {
      socket.once('error', reject);
      // Any port will do: connecting only chooses the way.
      socket.connect(9, address, () => resolve(socket.address().address));
    });
  } catch {
    return null;
  } finally {
    socket.close();
  }
}
