import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { writeFileDurably } from '@treeline/ostree';
import { ServerError } from '../errors.ts';
import { isDeviceId } from './identity.ts';
import {
  certificateFingerprint,
  exportPrivateKey,
  generateKeys,
  importKeys,
  type KeyPair,
  publicKeyFingerprint,
  SIGNING_ALGORITHM,
} from './keys.ts';
import * as x509 from './x509.ts';

const DAY = 24 * 60 * 60 * 1000;
/** Devices in the field pin the CA and cannot be reached to change it, so it outlives them. */
const CA_DAYS = 30 * 365;
const SERVER_DAYS = 365;
const SERVER_RENEW_DAYS = 30;
/** Renewal of device certificates is by enrolling again, so they last as long as a board does. */
const DEVICE_DAYS = 10 * 365;
/** A device without a battery-backed clock starts in the past. */
const CLOCK_SLACK = DAY;
const CSR_LIMIT = 16 * 1024;

export interface AuthorityOptions {
  /** Folder that holds `ca.key`, `ca.crt`, `server.key` and `server.crt`; made if missing. Keys have mode 0600. */
  dir: string;
  /** DNS names and IP addresses by which devices reach the gateway. */
  names: readonly string[];
  now?: () => Date;
}

export interface ServerCertificate {
  /** PKCS #8 PEM. */
  key: string;
  /** PEM chain: the server's certificate, then the CA's, so that a device can check the CA against its pin. */
  cert: string;
  notAfter: Date;
}

export interface IssuedCertificate {
  certificate: string;
  /** sha256 hex of the public key (SubjectPublicKeyInfo). */
  publicKey: string;
  notAfter: Date;
}

/** The gateway's certificate authority. */
export interface Authority {
  /** PEM of the CA certificate. */
  readonly certificate: string;
  /** sha256 hex of the CA certificate's DER: the second half of an enrolment token. */
  readonly fingerprint: string;
  /** The gateway's certificate; a new one when the stored one is near its end or names other addresses. */
  serverCertificate(): Promise<ServerCertificate>;
  /**
   * Certifies the key of a device: CN = `id`, for TLS clients only. Only the key is taken from the request.
   *
   * @throws ServerError `invalid-request` for a bad id, a request that is not PKCS #10 PEM or DER, a signature that
   * does not prove possession of the key, or a key that is not ECDSA P-256.
   */
  issueDeviceCertificate(o: { id: string; csr: string }): Promise<IssuedCertificate>;
  /** The device id and key that a client certificate proves, or null if it is not one of ours or not valid now. */
  identify(certificate: X509Certificate): { id: string; publicKey: string } | null;
}

/** Opens the CA in a folder; makes it on first use. */
export async function openAuthority(o: AuthorityOptions): Promise<Authority> {
  const now = o.now ?? (() => new Date());
  const ca = (await loadPair(o.dir, 'ca')) ?? (await makeCa(o.dir, now()));
  const caKey = ca.parsed.publicKey;
  const issuer = ca.parsed;

  return {
    certificate: ca.cert,
    fingerprint: certificateFingerprint(ca.parsed),
    async serverCertificate() {
      const stored = await loadPair(o.dir, 'server');
      if (stored !== null && serves(stored.parsed, issuer, o.names, now())) return serverCertificate(stored, ca.cert);
      const made = await makeServer(o.dir, { ca, names: o.names, now: now() });
      return serverCertificate(made, ca.cert);
    },
    async issueDeviceCertificate({ id, csr }) {
      if (!isDeviceId(id)) {
        throw new ServerError('invalid-request', `"${String(id).slice(0, 80)}" is no device id`, {
          hint: 'A device id is 1 to 64 letters, digits, ".", "_" or "-".',
        });
      }
      const publicKey = await provenKey(csr);
      const certificate = await x509.X509CertificateGenerator.create({
        subject: [{ CN: [id] }],
        issuer: ca.subject,
        notBefore: new Date(now().getTime() - CLOCK_SLACK),
        notAfter: new Date(now().getTime() + DEVICE_DAYS * DAY),
        publicKey,
        signingKey: ca.keys.privateKey,
        signingAlgorithm: SIGNING_ALGORITHM,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
          await x509.AuthorityKeyIdentifierExtension.create(ca.keys.publicKey),
        ],
      });
      const pem = `${certificate.toString('pem')}\n`;
      const parsed = new X509Certificate(pem);
      return { certificate: pem, publicKey: publicKeyFingerprint(parsed), notAfter: parsed.validToDate };
    },
    identify(certificate) {
      const at = now().getTime();
      if (at < certificate.validFromDate.getTime() || at > certificate.validToDate.getTime()) return null;
      if (certificate.ca || !certificate.checkIssued(issuer) || !certificate.verify(caKey)) return null;
      if (!(certificate.keyUsage ?? []).includes(x509.ExtendedKeyUsage.clientAuth)) return null;
      const id = /^CN=(.*)$/.exec(certificate.subject)?.[1];
      return isDeviceId(id) ? { id, publicKey: publicKeyFingerprint(certificate) } : null;
    },
  };
}

interface StoredPair {
  key: string;
  cert: string;
  keys: KeyPair;
  parsed: X509Certificate;
  subject: x509.JsonName;
}

const CA_SUBJECT: x509.JsonName = [{ CN: ['Treeline device CA'] }];

async function loadPair(dir: string, name: 'ca' | 'server'): Promise<StoredPair | null> {
  let key: string;
  let cert: string;
  try {
    [key, cert] = await Promise.all([
      readFile(join(dir, `${name}.key`), 'utf8'),
      readFile(join(dir, `${name}.crt`), 'utf8'),
    ]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const parsed = new X509Certificate(cert);
    // A renewal cut off between its two files leaves a new key beside an old certificate.
    if (!parsed.checkPrivateKey(createPrivateKey(key)))
      throw new RangeError('key and certificate do not belong together');
    return { key, cert, keys: await importKeys(key), parsed, subject: CA_SUBJECT };
  } catch (cause) {
    // The server's own pair can be made anew at any time; the CA cannot: every device trusts this one.
    if (name === 'server') return null;
    throw new ServerError('unavailable', `${dir} holds a CA that cannot be read`, {
      hint: 'Restore ca.key and ca.crt from a backup; without them every device must be enrolled again.',
      cause,
    });
  }
}

/** The key first: a crash in between leaves a key without a certificate, which the next start replaces. */
async function storePair(dir: string, name: 'ca' | 'server', pair: { key: string; cert: string }): Promise<void> {
  await writeFileDurably(join(dir, `${name}.key`), pair.key, { mode: 0o600 });
  await writeFileDurably(join(dir, `${name}.crt`), pair.cert, { mode: 0o644 });
}

async function makeCa(dir: string, now: Date): Promise<StoredPair> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: CA_SUBJECT,
    notBefore: new Date(now.getTime() - CLOCK_SLACK),
    notAfter: new Date(now.getTime() + CA_DAYS * DAY),
    keys,
    signingAlgorithm: SIGNING_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return finish(dir, 'ca', { keys, certificate });
}

async function makeServer(
  dir: string,
  o: { ca: StoredPair; names: readonly string[]; now: Date },
): Promise<StoredPair> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [o.names[0] ?? 'localhost'] }],
    issuer: o.ca.subject,
    notBefore: new Date(o.now.getTime() - CLOCK_SLACK),
    notAfter: new Date(o.now.getTime() + SERVER_DAYS * DAY),
    publicKey: keys.publicKey,
    signingKey: o.ca.keys.privateKey,
    signingAlgorithm: SIGNING_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        o.names.map((name) => ({ type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const), value: name })),
      ),
      await x509.AuthorityKeyIdentifierExtension.create(o.ca.keys.publicKey),
    ],
  });
  return finish(dir, 'server', { keys, certificate });
}

async function finish(
  dir: string,
  name: 'ca' | 'server',
  made: { keys: KeyPair; certificate: x509.X509Certificate },
): Promise<StoredPair> {
  const key = await exportPrivateKey(made.keys.privateKey);
  const cert = `${made.certificate.toString('pem')}\n`;
  await storePair(dir, name, { key, cert });
  return { key, cert, keys: made.keys, parsed: new X509Certificate(cert), subject: CA_SUBJECT };
}

function serverCertificate(pair: StoredPair, ca: string): ServerCertificate {
  return { key: pair.key, cert: pair.cert + ca, notAfter: pair.parsed.validToDate };
}

/** Whether a stored server certificate is good for these names, by this CA, for a while yet. */
function serves(certificate: X509Certificate, ca: X509Certificate, names: readonly string[], now: Date): boolean {
  if (certificate.validToDate.getTime() - now.getTime() < SERVER_RENEW_DAYS * DAY) return false;
  if (certificate.validFromDate.getTime() > now.getTime()) return false;
  if (!certificate.verify(ca.publicKey)) return false;
  const covered = (certificate.subjectAltName ?? '').split(', ').length;
  return (
    covered === names.length &&
    names.every((name) =>
      isIP(name) === 0 ? certificate.checkHost(name) !== undefined : certificate.checkIP(name) !== undefined,
    )
  );
}

/** The public key of a signing request whose signature proves that the sender holds the private one. */
async function provenKey(csr: string): Promise<x509.PublicKey> {
  const refuse = (message: string, cause?: unknown) =>
    new ServerError('invalid-request', `the certificate request ${message}`, {
      hint: 'Send a PKCS #10 request in PEM, signed by an ECDSA P-256 key.',
      cause,
    });
  if (typeof csr !== 'string' || csr.length > CSR_LIMIT) throw refuse('is not text of at most 16 KiB');
  let request: x509.Pkcs10CertificateRequest;
  let proven: boolean;
  try {
    request = new x509.Pkcs10CertificateRequest(csr);
    const algorithm = request.publicKey.algorithm as { name?: string; namedCurve?: string };
    if (algorithm.name !== 'ECDSA' || algorithm.namedCurve !== 'P-256') throw refuse('is not for an ECDSA P-256 key');
    proven = await request.verify();
  } catch (error) {
    throw error instanceof ServerError ? error : refuse('cannot be read', error);
  }
  if (!proven) throw refuse('is not signed by the key that it names');
  return request.publicKey;
}
