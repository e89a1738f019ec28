import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import { z } from 'zod';
import { createDeviceClock } from '../clock/device-clock.ts';
import { AgentError, messageOf } from '../errors.ts';
import { refusal, send } from './request.ts';
import { createSigningRequest } from './signing-request.ts';
import { createTrustedAgent } from './trust.ts';

const Enrolled = z.object({
  certificate: z.string(),
  ca: z.string(),
  channel: z.string().nullable(),
  repository: z.string(),
});
export type Enrolled = z.infer<typeof Enrolled>;

export interface EnrolmentRequest {
  gateway: string;
  /** `<secret>.<sha256 hex of the gateway's CA certificate>`. */
  token: string;
  id: string;
  key: KeyObject;
  hardwareId?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Turns a token into a certificate for a key made here. The token's pin is checked against the server's CA before the
 * secret is sent: whoever sits in between learns nothing.
 *
 * @throws AgentError `invalid` for a malformed token, `pin-mismatch`, `unreachable`, `enrolment-refused`
 */
export async function requestCertificate(o: EnrolmentRequest): Promise<Enrolled> {
  const match = /^([A-Za-z0-9_-]{8,256})\.([0-9a-f]{64})$/.exec(o.token.trim());
  if (match === null) {
    throw new AgentError('invalid', 'the enrolment token is malformed', {
      hint: 'Copy it whole, as "treeline devices enrol-token" printed it: <secret>.<64 hexadecimal digits>.',
    });
  }
  const ca = await pinnedCa(o.gateway, match[2] ?? '', o.signal);
  const agent = createTrustedAgent({ ca }, createDeviceClock(boundsOf(ca)));
  const answer = await send(`${o.gateway.replace(/\/+$/, '')}/enroll`, {
    method: 'POST',
    agent,
    body: {
      token: o.token.trim(),
      id: o.id,
      csr: createSigningRequest(o.id, o.key),
      ...(o.hardwareId === undefined ? {} : { hardwareId: o.hardwareId }),
    },
    signal: o.signal,
  }).finally(() => agent.destroy());
  if (answer.status !== 200) {
    const reason = refusal(answer, `the gateway did not enrol "${o.id}"`);
    throw new AgentError('enrolment-refused', reason.message, {
      status: answer.status,
      ...(reason.hint === undefined ? {} : { hint: reason.hint }),
    });
  }
  let enrolled: Enrolled;
  try {
    enrolled = Enrolled.parse(JSON.parse(answer.text));
    const certificate = new X509Certificate(enrolled.certificate);
    if (!certificate.checkPrivateKey(o.key)) throw new RangeError('the certificate is for another key');
    if (!certificate.verify(new X509Certificate(ca).publicKey))
      throw new RangeError('the certificate is of another CA');
  } catch (cause) {
    throw new AgentError('enrolment-refused', `the gateway's answer makes no sense: ${messageOf(cause)}`, { cause });
  }
  // The pinned CA, not whatever the answer says.
  return { ...enrolled, ca };
}

/** The time cannot be before the CA whose certificate is in use began, nor after it ends. */
function boundsOf(ca: string): { earliest: number; latest: number } {
  const { validFrom, validTo } = new X509Certificate(ca);
  return { earliest: Date.parse(validFrom), latest: Date.parse(validTo) };
}

/** PEM of the CA in the server's chain that has the pinned fingerprint. Nothing is sent over this connection. */
async function pinnedCa(gateway: string, pin: string, signal: AbortSignal | undefined): Promise<string> {
  const { hostname, port } = new URL(gateway);
  const host = hostname.replace(/^\[|\]$/g, '');
  const leaf = await new Promise<DetailedPeerCertificate>((resolve, reject) => {
    const socket = connect({ host, port: Number(port || 443), rejectUnauthorized: false, timeout: 15_000 }, () => {
      resolve(socket.getPeerCertificate(true));
      socket.destroy();
    });
    const fail = (error: Error) => {
      socket.destroy();
      reject(
        signal?.aborted
          ? (signal.reason as Error)
          : new AgentError('unreachable', `${host}:${port || 443} did not answer: ${error.message}`, {
              hint: 'Is the server up, and is this the address of its gateway (not of its API)?',
              cause: error,
            }),
      );
    };
    socket.on('error', fail);
    socket.on('timeout', () => fail(new AgentError('unreachable', 'timed out')));
    signal?.addEventListener('abort', () => fail(new AgentError('unreachable', 'aborted')), { once: true });
  });
  const seen = new Set<string>();
  let certificate: DetailedPeerCertificate | undefined = leaf;
  while (certificate?.raw !== undefined && !seen.has(certificate.fingerprint256)) {
    seen.add(certificate.fingerprint256);
    if (createHash('sha256').update(certificate.raw).digest('hex') === pin) {
      return new X509Certificate(certificate.raw).toString();
    }
    certificate = certificate.issuerCertificate;
  }
  throw new AgentError('pin-mismatch', `${gateway} is not the gateway that the token is for: its CA is another`, {
    hint: 'Check the address; make a new token if the server was set up anew. Nothing was sent to it.',
  });
}
