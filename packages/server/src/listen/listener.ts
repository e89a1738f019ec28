import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import { networks } from '../access/address.ts';
import { messageOf, ServerError } from '../errors.ts';
import type { Settings } from '../settings.ts';
import type { CertificateNames } from './certificate-name.ts';
import { limitConnections, serverOptions } from './limits.ts';
import { readTlsFiles, type TlsFiles, type TlsMaterial, watchTlsFiles } from './tls-files.ts';

export interface Listener {
  /** Base URL for everybody. */
  url: string;
  /** Base URL for this machine: plain HTTP on loopback, where no name has to fit a certificate. */
  localUrl: string;
  /** Ends idle connections at once, the others a moment later. */
  close(): Promise<void>;
}

export interface ListenerDeps {
  settings: Pick<
    Settings,
    'host' | 'port' | 'maxConnections' | 'trustedProxies' | 'tlsCert' | 'tlsKey' | 'tlsClientCa'
  >;
  log: Pick<Logger, 'info' | 'warn' | 'error'>;
  handle: RequestListener;
  certificates: CertificateNames;
  signal: AbortSignal;
}

/**
 * Opens the port of the API and the repositories. With a certificate it speaks TLS; what runs on this machine (the
 * embedded runner, the command line) then has a port of its own on loopback.
 *
 * @throws ServerError `unavailable` when a port cannot be had, `settings-invalid` for bad TLS files.
 */
export async function listen(deps: ListenerDeps): Promise<Listener> {
  const { settings, handle } = deps;
  const { tlsCert: cert, tlsKey: key, tlsClientCa: clientCa, host, port } = settings;
  const limits = { most: settings.maxConnections, isProxy: networks(settings.trustedProxies) };
  if (cert === null || key === null) {
    const server = createServer(serverOptions(), handle);
    limitConnections(server, limits);
    const opened = await open(server, host, port);
    const url = `http://${urlHost(host === '0.0.0.0' || host === '::' ? 'localhost' : host)}:${opened}`;
    return { url, localUrl: url, close: () => close(server) };
  }
  const files: TlsFiles = { cert, key, clientCa };
  const material = await readTlsFiles(files);
  const server = createTlsServer(
    {
      ...serverOptions(),
      ...contextOf(material),
      minVersion: 'TLSv1.2',
      requestCert: clientCa !== null,
      // Most clients have a token and no certificate: what the certificate is worth is looked at with each request.
      rejectUnauthorized: false,
    },
    handle,
  );
  // Scanners and broken clients are no news.
  server.on('tlsClientError', () => {});
  limitConnections(server, limits);
  warnOfExpiry(deps, material);
  void watchTlsFiles(files, {
    current: material,
    signal: deps.signal,
    changed(found) {
      server.setSecureContext({ ...contextOf(found), minVersion: 'TLSv1.2' });
      deps.certificates.startAnew();
      deps.log.info({ cert, expires: new Date(found.expires).toISOString() }, 'the TLS certificate was read anew');
      warnOfExpiry(deps, found);
    },
    refused: (error) => deps.log.error({ err: error }, 'the new TLS files are no good; the ones before stay in use'),
  });
  const opened = await open(server, host, port);
  const local = createServer(serverOptions(), handle);
  limitConnections(local, limits);
  try {
    const localPort = await open(local, '127.0.0.1', 0);
    return {
      url: `https://${urlHost(publicName(host, material))}:${opened}`,
      localUrl: `http://127.0.0.1:${localPort}`,
      close: async () => void (await Promise.all([close(server), close(local)])),
    };
  } catch (error) {
    await close(server);
    throw error;
  }
}

function contextOf({ cert, key, ca }: TlsMaterial): { cert: string; key: string; ca?: string } {
  return { cert, key, ...(ca === null ? {} : { ca }) };
}

function warnOfExpiry({ log, settings }: ListenerDeps, { expires }: TlsMaterial): void {
  if (expires < Date.now()) log.warn(`the TLS certificate ${settings.tlsCert} has expired: clients will refuse it`);
}

/** What clients call the server: the address that it listens on if the certificate has it, else the first name there. */
function publicName(host: string, { names }: TlsMaterial): string {
  return names.includes(host) ? host : (names.find((name) => !name.includes('*')) ?? host);
}

function urlHost(name: string): string {
  return name.includes(':') ? `[${name}]` : name;
}

async function open(server: Server | TlsServer, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const hint = error.code === 'EADDRINUSE' ? 'Another program has it: choose another with --port.' : undefined;
      reject(
        new ServerError('unavailable', `cannot listen on ${host}:${port}: ${messageOf(error)}`, {
          cause: error,
          ...(hint ? { hint } : {}),
        }),
      );
    });
    server.listen(port, host, resolve);
  });
  return (server.address() as AddressInfo).port;
}

async function close(server: Server | TlsServer): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    // What is still open are idle connections and streams that nobody reads.
    setTimeout(() => server.closeAllConnections(), 200).unref();
    server.closeIdleConnections();
  });
}
