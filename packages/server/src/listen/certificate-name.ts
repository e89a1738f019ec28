import { TLSSocket } from 'node:tls';
import type { Asking } from '../access/authenticator.ts';

interface Proven {
  name: string;
  /** ms since the epoch. */
  expires: number;
  /** Of the authorities that it was checked against. */
  generation: number;
}

/** Knows what client certificates prove. */
export interface CertificateNames {
  /** Common name in the client certificate of a request's connection; null without one that is good. */
  of(req: Asking): string | null;
  /** Connections that were made before count as without a certificate: other authorities are trusted now. */
  startAnew(): void;
}

/**
 * TLS has proven that the client holds the certificate's key. `authorized` alone is not asked: it is true as well for a
 * resumed TLS 1.3 session that never had a certificate.
 */
export function createCertificateNames(now: () => number = Date.now): CertificateNames {
  const known = new WeakMap<TLSSocket, Proven | null>();
  let generation = 0;
  return {
    of({ socket }) {
      if (!(socket instanceof TLSSocket)) return null;
      let proven = known.get(socket);
      if (proven === undefined) {
        proven = provenBy(socket, generation);
        known.set(socket, proven);
      }
      return proven !== null && proven.generation === generation && proven.expires > now() ? proven.name : null;
    },
    startAnew() {
      generation += 1;
    },
  };
}

function provenBy(socket: TLSSocket, generation: number): Proven | null {
  const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined;
  if (certificate === undefined) return null;
  // With several common names it is not clear whose certificate it is.
  const name: unknown = certificate.toLegacyObject().subject.CN;
  if (typeof name !== 'string') return null;
  return { name, expires: Date.parse(certificate.validTo), generation };
}
