import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';
import { messageOf, ServerError } from '../errors.ts';

/** Where certificate and key of the server are, as PEM files. */
export interface TlsFiles {
  /** The server's certificate, followed by those between it and its root. */
  cert: string;
  /** Its key, not encrypted. */
  key: string;
  /** Certificates of the authorities whose client certificates are taken; null = none are asked for. */
  clientCa: string | null;
}

/** What was in the files, checked: certificate and key belong together. */
export interface TlsMaterial {
  cert: string;
  key: string;
  ca: string | null;
  /** Names of the certificate that a client can use, the first that is no wildcard first. */
  names: string[];
  /** ms since the epoch. */
  expires: number;
}

/** @throws ServerError `settings-invalid` naming the file and what is wrong with it. */
export async function readTlsFiles(files: TlsFiles): Promise<TlsMaterial> {
  const read = async (path: string): Promise<string> => {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      throw invalid(`${path} cannot be read: ${messageOf(error)}`, error);
    }
  };
  const [cert, key, ca] = await Promise.all([
    read(files.cert),
    read(files.key),
    files.clientCa === null ? null : read(files.clientCa),
  ]);
  const certificate = parse(files.cert, cert);
  if (files.clientCa !== null) parse(files.clientCa, ca!);
  try {
    createSecureContext({ cert, key, ...(ca === null ? {} : { ca }) });
  } catch (error) {
    const hint = 'The key must be that of the certificate, as PEM and not encrypted.';
    throw invalid(`${files.cert} and ${files.key} cannot be used: ${messageOf(error)}`, error, hint);
  }
  return { cert, key, ca, names: namesOf(certificate), expires: Date.parse(certificate.validTo) };
}

/** How often the files are looked at. */
const LOOK_MS = 5000;

/**
 * Watches the files and hands over what is new in them, until `signal` aborts. Links that are moved to other files, as
 * certbot does, are followed. While certificate and key do not belong together (one was written, the other not yet),
 * and when they are no good at all, what was there stays in use; that is told once.
 */
export async function watchTlsFiles(
  files: TlsFiles,
  o: {
    current: TlsMaterial;
    changed: (material: TlsMaterial) => void;
    refused: (error: unknown) => void;
    signal: AbortSignal;
    lookMs?: number;
  },
): Promise<void> {
  let { current } = o;
  let told: string | null = null;
  for (;;) {
    await setTimeout(o.lookMs ?? LOOK_MS, undefined, { signal: o.signal, ref: false }).catch(() => {});
    if (o.signal.aborted) return;
    try {
      const found = await readTlsFiles(files);
      told = null;
      if (found.cert === current.cert && found.key === current.key && found.ca === current.ca) continue;
      o.changed(found);
      current = found;
    } catch (error) {
      if (told !== messageOf(error)) o.refused(error);
      told = messageOf(error);
    }
  }
}

function parse(path: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw invalid(`${path} is not a certificate in PEM: ${messageOf(error)}`, error);
  }
}

function namesOf(certificate: X509Certificate): string[] {
  const names = (certificate.subjectAltName ?? '').split(', ').flatMap((entry) => {
    const match = /^(?:DNS:([A-Za-z0-9.*-]+)|IP Address:([0-9A-Fa-f.:]+))$/.exec(entry);
    return match ? [match[1] ?? match[2]!] : [];
  });
  return [...names.filter((name) => !name.includes('*')), ...names.filter((name) => name.includes('*'))];
}

function invalid(message: string, cause: unknown, hint?: string): ServerError {
  return new ServerError('settings-invalid', message, { cause, ...(hint === undefined ? {} : { hint }) });
}
