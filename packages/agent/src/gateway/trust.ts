import { X509Certificate } from 'node:crypto';
import { Agent } from 'node:https';
import { isIP } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { DeviceClock } from '../clock/device-clock.ts';
import { AgentError } from '../errors.ts';

/** Purpose "server" in a certificate (RFC 5280, 4.2.1.12). */
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CONNECT_MS = 20_000;
const TIME_ERRORS = new Set(['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED']);

/**
 * Connections to the gateway and nobody else: its certificate has to be of the one CA that this board trusts.
 *
 * On a board whose clock cannot be right, time is the one thing that is not asked of the certificate before the server
 * has said what time it is: signature, name and purpose still are. The board would otherwise never hear of it again.
 *
 * @throws from a request: AgentError `unreachable` with what is wrong with the certificate
 */
export function createTrustedAgent(
  o: { ca: string; cert?: string; key?: string; maxSockets?: number },
  clock: DeviceClock,
): Agent {
  const ca = new X509Certificate(o.ca);
  const agent = new Agent({
    keepAlive: true,
    maxSockets: o.maxSockets ?? 2,
    ca: o.ca,
    ...(o.cert === undefined ? {} : { cert: o.cert }),
    ...(o.key === undefined ? {} : { key: o.key }),
  });
  type Connected = (error: Error | null, socket?: TLSSocket) => void;
  // Whoever asks for a connection gets it when it is proved: nothing is sent over it before.
  const createConnection = (options: ConnectionOptions, connected: Connected): void => {
    const socket = connect({ ...options, rejectUnauthorized: false });
    const fail = (error: Error) => {
      socket.destroy();
      connected(error);
    };
    // Before anybody has it, nobody else would notice that it hangs.
    socket.setTimeout(CONNECT_MS, () => fail(new AgentError('unreachable', 'timed out')));
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      socket.removeListener('error', fail);
      socket.setTimeout(0);
      const name = options.servername || options.host || '';
      const problem = problemWith(socket, { ca, clock, name });
      if (problem === null) return connected(null, socket);
      fail(new AgentError('unreachable', problem));
    });
  };
  Object.assign(agent, { createConnection });
  return agent;
}

function problemWith(socket: TLSSocket, o: { ca: X509Certificate; clock: DeviceClock; name: string }): string | null {
  if (socket.authorized) return null;
  // Node's types say Error; it is the code of OpenSSL's verdict.
  const verdict = socket.authorizationError as unknown;
  const code = typeof verdict === 'string' ? verdict : verdict instanceof Error ? verdict.message : 'not proved';
  const peer = socket.getPeerX509Certificate();
  if (!TIME_ERRORS.has(code) || peer === undefined) return `its certificate is not to be trusted: ${code}`;
  const { clock } = o;
  if (clock.isPlausible()) {
    const today = new Date(clock.now()).toISOString().slice(0, 10);
    return `its certificate is valid from ${peer.validFrom} to ${peer.validTo}, and here it is ${today}: ${code}`;
  }
  if (!peer.checkIssued(o.ca) || !peer.verify(o.ca.publicKey)) return 'its certificate is of another CA';
  if (!(peer.keyUsage as string[] | undefined)?.includes(SERVER_AUTH)) return 'its certificate is none of a server';
  const named = isIP(o.name) === 0 ? peer.checkHost(o.name) : peer.checkIP(o.name);
  if (named === undefined) return `its certificate is not one of ${o.name}`;
  if (clock.behind() === null) return null;
  const now = clock.now();
  return now >= Date.parse(peer.validFrom) && now <= Date.parse(peer.validTo) ? null : 'its certificate has run out';
}
