import { readFileSync } from 'node:fs';
import type { ReadableStream } from 'node:stream/web';
import { CliError } from '../errors.ts';

// Node's modules for TLS take a while to load, and most calls have nothing to do with certificates: they are taken where
// they are needed.

/** PEM texts. */
export type ClientCertificate = { cert: string; key: string };

/** Trusts the authorities in a PEM file, beside those that are trusted anyway, in the whole process. */
export function trustAuthorities(path: string): void {
  const { X509Certificate } = process.getBuiltinModule('node:crypto');
  const { getCACertificates, setDefaultCACertificates } = process.getBuiltinModule('node:tls');
  const pem = read(path);
  const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    if (certificates.length === 0) throw new TypeError('there is no certificate in it');
    for (const certificate of certificates) new X509Certificate(certificate);
  } catch (error) {
    throw new CliError('usage', `${path} is no file of certificates in PEM: ${(error as Error).message}.`, {
      cause: error,
      hint: 'It begins with -----BEGIN CERTIFICATE-----.',
    });
  }
  setDefaultCACertificates([...getCACertificates('default'), ...certificates]);
}

/** The certificate and key that are named; null when none are. The key may be in the same file. */
export function readClientCertificate(files: {
  cert: string | undefined;
  key: string | undefined;
}): ClientCertificate | null {
  if (!files.cert) return null;
  const cert = read(files.cert);
  const key = files.key ? read(files.key) : cert;
  try {
    process.getBuiltinModule('node:tls').createSecureContext({ cert, key });
  } catch (error) {
    throw new CliError('usage', `${files.cert} cannot be used as a client certificate: ${(error as Error).message}.`, {
      cause: error,
      hint: 'Give the certificate and its key, in PEM: --client-cert FILE --client-key FILE',
    });
  }
  return { cert, key };
}

/** `fetch` with a client certificate, which the one of Node cannot show. Bodies are text. */
export function fetchWithCertificate(
  url: URL,
  init: { method: string; headers: Record<string, string>; body?: string; signal: AbortSignal },
  { cert, key }: ClientCertificate,
): Promise<Response> {
  const { method, headers, body, signal } = init;
  return new Promise((resolve, reject) => {
    const outgoing = process
      .getBuiltinModule('node:https')
      .request(url, { method, headers, cert, key, signal }, (incoming) => {
        const { statusCode = 0, headers: received } = incoming;
        const entries = Object.entries(received).map(([name, value]): [string, string] => [name, String(value)]);
        const isEmpty = statusCode === 204 || statusCode === 304;
        if (isEmpty) incoming.resume();
        // A redirect would show certificate and token to whoever is named.
        if (statusCode >= 300 && statusCode < 400) return reject(new TypeError('unexpected redirect'));
        const content = isEmpty
          ? null
          : (process.getBuiltinModule('node:stream').Readable.toWeb(incoming) as ReadableStream<Uint8Array>);
        const response = new Response(content as ConstructorParameters<typeof Response>[0], {
          status: statusCode,
          headers: entries,
        });
        // Messages name the place that did not answer as expected.
        Object.defineProperty(response, 'url', { value: url.href });
        resolve(response);
      });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError('usage', `${path} cannot be read: ${(error as Error).message}.`, { cause: error });
  }
}
