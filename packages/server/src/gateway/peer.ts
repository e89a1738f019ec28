import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Authority } from '../ca/index.ts';

export interface Peer {
  id: string;
  publicKey: string;
}

/**
 * Who is at the other end of a request, by its client certificate; null without one of ours.
 *
 * TLS has proven that the peer holds the certificate's key, but `socket.authorized` is not asked: it is true as well
 * for a resumed TLS 1.3 session that never had a certificate. The certificate itself is checked, once per connection.
 */
export function createPeerReader(authority: Authority): (req: IncomingMessage) => Peer | null {
  const known = new WeakMap<TLSSocket, Peer | null>();
  return (req) => {
    const socket = req.socket as TLSSocket;
    const cached = known.get(socket);
    if (cached !== undefined) return cached;
    const certificate = socket.getPeerX509Certificate();
    const peer = certificate === undefined ? null : authority.identify(certificate);
    known.set(socket, peer);
    return peer;
  };
}
