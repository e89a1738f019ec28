import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import type { Authority } from '../ca/index.ts';
import type { Pointers, Registry, UnknownDevicePolicy } from '../devices/index.ts';
import type { Differences } from '../differences/differences.ts';
import { ServerError } from '../errors.ts';
import { isLabDevice } from '../lab/id.ts';
import type { LabDevices } from '../lab/lab.ts';
import { limitConnections, serverOptions } from '../listen/limits.ts';
import { createCheckInFilter, readCheckIn } from './check-in.ts';
import { createContent } from './content.ts';
import { createDownloads } from './download.ts';
import { enrol } from './enrolment.ts';
import { GatewayRefusal, sendJson, sendRefusal } from './exchange.ts';
import { createPeerReader } from './peer.ts';
import { refusalOf } from './refusals.ts';
import { OPEN_TO_PENDING, reports } from './reports.ts';

export interface GatewayDeps {
  authority: Authority;
  registry: Registry;
  /** Devices that are sent elsewhere for a while. */
  pointers: Pick<Pointers, 'offered'>;
  /** Devices of board jobs, which get theirs from the store. */
  lab: LabDevices;
  /** Questions to devices about what was changed on them. */
  differences: Pick<Differences, 'waiting' | 'answer'>;
  /** Folder of the store. */
  storeDir: string;
  log: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** Folder of the published repositories, `<name>/` each. */
  reposDir: string;
  settings: {
    gatewayHost: string;
    /** 0 = any free one. */
    gatewayPort: number;
    gatewayNames: readonly string[];
    /** What to do with an unknown device that has a valid certificate (it was removed, say). Default `pending`. */
    unknownDevices?: UnknownDevicePolicy;
    maxConnections?: number;
  };
}

export interface Gateway {
  /** `https://host:port`, by a name that the certificate covers. */
  url: string;
  port: number;
  /** sha256 hex of the CA certificate: what devices pin. */
  fingerprint: string;
  close(): Promise<void>;
}

const MOST_CONNECTIONS = 2048;
const RENEWAL_LOOK = 12 * 60 * 60 * 1000;
const TUF_PLACE = '/repo/';

/**
 * Starts the device gateway: HTTPS on a port of its own, mutual TLS, the paths that aktualizr-lite speaks.
 *
 * Every request but `POST /enroll` needs a certificate of the gateway's CA; the device is its CN.
 *
 * @throws ServerError `unavailable` when the port cannot be listened on.
 */
export async function createGateway(deps: GatewayDeps): Promise<Gateway> {
  const { authority, settings } = deps;
  const handle = createHandler(deps);
  const tls = await authority.serverCertificate();
  const server = createServer(
    {
      ...serverOptions(),
      key: tls.key,
      cert: tls.cert,
      ca: authority.certificate,
      requestCert: true,
      // The handler refuses what lacks a certificate: enrolment must get through without one.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
    },
    (req, res) => void handle(req, res),
  );
  // Scanners and broken clients are no news.
  server.on('tlsClientError', () => {});
  limitConnections(server, { most: settings.maxConnections ?? MOST_CONNECTIONS, isProxy: () => false });
  await listen(server, settings);
  const renewal = setInterval(() => {
    authority.serverCertificate().then(
      (fresh) => server.setSecureContext({ key: fresh.key, cert: fresh.cert, ca: authority.certificate }),
      (error: unknown) => deps.log.error({ err: error }, 'the gateway certificate could not be renewed'),
    );
  }, RENEWAL_LOOK);
  renewal.unref();

  const { port } = server.address() as AddressInfo;
  return {
    url: `https://${publicHost(settings)}:${port}`,
    port,
    fingerprint: authority.fingerprint,
    close() {
      clearInterval(renewal);
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

function createHandler(deps: GatewayDeps): (req: IncomingMessage, res: ServerResponse) => Promise<void> {
  const peerOf = createPeerReader(deps.authority);
  const content = createContent(deps);
  const downloads = createDownloads(deps);
  const isNews = createCheckInFilter();
  const policy = deps.settings.unknownDevices ?? 'pending';

  const dispatch = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    // Not decoded as a whole: a raw "+" in a delta's path must stay one.
    const [path = '/', query = ''] = (req.url ?? '/').split('?');
    const place = `${req.method === 'HEAD' ? 'GET' : req.method} ${path}`;
    if (place === 'POST /enroll') return enrol(deps, req, res);

    const peer = peerOf(req);
    if (peer === null) {
      throw new GatewayRefusal(
        401,
        'certificate-required',
        'a client certificate of this server is required',
        'Enrol the device with a token first: treeline agent enrol',
      );
    }
    // A board whose job is over may still run for a moment: it must not come back as a device that waits to be let in.
    const admitted = await deps.registry.admit({ ...peer, policy: isLabDevice(peer.id) ? 'refuse' : policy });
    if ('refused' in admitted) {
      deps.log.warn({ device: peer.id, refused: admitted.refused }, 'device refused');
      throw refusalOf(admitted.refused, peer.id);
    }
    const { tags: _, ...seen } = readCheckIn(req);
    if (isNews(peer.id, seen)) await deps.registry.checkIn(peer.id, seen);
    const device = seen.commit === undefined ? admitted.device : { ...admitted.device, current_commit: seen.commit };

    if (device.accepted === 0 && !OPEN_TO_PENDING.has(place)) throw refusalOf('not-accepted', peer.id);
    if (path.startsWith('/ostree/')) return content.serve(device, req, res, path.slice('/ostree'.length));
    if (place === 'GET /device/download') {
      return sendJson(res, 200, await downloads.size(device, new URLSearchParams(query)));
    }
    const report = reports.get(place);
    if (report !== undefined) return report(deps, device, req, res);
    if (path.startsWith(TUF_PLACE)) {
      throw new GatewayRefusal(404, 'tuf-not-configured', 'this server signs no TUF metadata');
    }
    throw new GatewayRefusal(404, 'not-found', 'there is nothing here');
  };

  return async (req, res) => {
    try {
      await dispatch(req, res);
    } catch (error) {
      if (error instanceof GatewayRefusal) return sendRefusal(res, error);
      if (req.destroyed && !req.complete) return;
      deps.log.error({ err: error, path: req.url }, 'request failed');
      sendRefusal(res, new GatewayRefusal(500, 'internal', 'the server could not answer; see its log'));
    }
  };
}

function listen(server: Server, o: GatewayDeps['settings']): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const where = `${o.gatewayHost}:${o.gatewayPort}`;
      reject(
        new ServerError('unavailable', `the device gateway cannot listen on ${where}: ${cause.message}`, {
          hint: 'Is another server running? Choose another port for the gateway.',
          cause,
        }),
      );
    });
    server.listen(o.gatewayPort, o.gatewayHost, resolve);
  });
}

/** The listening address itself if the certificate covers it (no name to resolve), else the first name. */
function publicHost(o: GatewayDeps['settings']): string {
  const host = o.gatewayNames.includes(o.gatewayHost) ? o.gatewayHost : (o.gatewayNames[0] ?? o.gatewayHost);
  return host.includes(':') ? `[${host}]` : host;
}
