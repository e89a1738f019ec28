import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { BoardError } from '../../errors.ts';
import { FORWARD_ADDRESS } from './machine.ts';

/** What of the world a board in QEMU reaches: all that this machine does, or one port of it. */
export type QemuNetwork = 'open' | { host: string; port: number };

/** QEMU's `-netdev`: its user network, which needs no rights on this machine. */
export function netdevOf(network: QemuNetwork): string {
  if (network === 'open') return 'user,id=net';
  const { host, port } = network;
  if (!/^[A-Za-z0-9.:-]+$/.test(host)) throw new BoardError('invalid', `${host} is no address to forward to`);
  const relay = fileURLToPath(new URL('relay.ts', import.meta.url));
  const words = [process.execPath, relay, host, String(port)].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  // Within an option of QEMU a comma is written twice.
  const command = words.join(' ').replaceAll(',', ',,');
  return `user,id=net,restrict=on,guestfwd=tcp:${FORWARD_ADDRESS}:${port}-cmd:${command}`;
}

/** A locally administered address that a board keeps over its boots. */
export function macOf(name: string): string {
  const hash = createHash('sha256').update(name).digest();
  return ['52', '54', '00', ...[...hash.subarray(0, 3)].map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}
