import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { arch, hostname, release as kernel, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { boardPaths, changeChannel, type Identity, requireIdentity } from '../board/identity.ts';
import { createDeviceClock, type DeviceClock } from '../clock/device-clock.ts';
import type { Checkpoint, Deployer } from '../deploy/deployer.ts';
import { openDeployer } from '../deploy/open-deployer.ts';
import type { Remote } from '../deploy/remote.ts';
import { createClient, type GatewayClient } from '../gateway/client.ts';
import { createTrustedAgent } from '../gateway/trust.ts';
import { createPolicy, type Policy, type PolicyPlaces } from '../policy/policy.ts';
import type { StateStore } from '../state/store.ts';
import type { StateDetails } from './reports.ts';

/** What an agent works with, once its board is known. */
export interface AgentParts {
  /** As it is now: the channel may change. */
  identity(): Identity;
  follow: (change: { channel: string; repository: string }) => Promise<void>;
  deployer: Deployer;
  client: GatewayClient;
  policy: Policy;
  clock: DeviceClock;
  /** Told what runs, for the check-in headers. */
  setBooted(commit: string | null): void;
  serverTime: () => number | null;
  details: () => StateDetails;
  close(): void;
}

/** What the clock may be off before the server is told. */
const CLOCK_TOLERANCE = 120_000;
/** Connections for a download; the server counts them by device. */
const MOST_SOCKETS = 8;

/** @throws AgentError `not-enrolled` */
export async function openParts(
  board: string,
  o: {
    store: StateStore;
    checkpoint?: Checkpoint | undefined;
    onWarning: (message: string) => void;
    signal?: AbortSignal | undefined;
  },
): Promise<AgentParts> {
  let identity = await requireIdentity(board);
  const { store } = o;
  const paths = boardPaths(board);
  const [cert, key, ca] = await Promise.all([
    readFile(paths.certificate, 'utf8'),
    readFile(paths.key, 'utf8'),
    readFile(paths.ca, 'utf8'),
  ]);
  const tls = { cert, key, ca };
  let heard: number | null = store.current.serverTime;
  const clock = createDeviceClock({ ...boundsOf(tls, heard) });
  const agent = createTrustedAgent({ ...tls, maxSockets: MOST_SOCKETS }, clock);
  let booted: string | null = null;
  const headers = (): Record<string, string> => ({
    'x-ats-tags': identity.channel,
    ...(booted === null ? {} : { 'x-ats-ostreehash': booted, 'x-ats-target': `${identity.channel}@${booted}` }),
  });
  const client = createClient({
    gateway: identity.gateway,
    agent,
    headers,
    onServerTime(time) {
      clock.heard(time);
      heard = time;
    },
  });
  const remote: Remote = {
    ...{ gateway: identity.gateway, tls, agent, headers, size: client.size },
    files: { cert: paths.certificate, key: paths.key, ca: paths.ca },
  };
  const policy = createPolicy({
    ...{ places: policyPlaces(board, identity), clock, onWarning: o.onWarning, signal: o.signal },
    pinned: () => store.current.pinned?.why ?? null,
  });
  // Read once before anything asks: what is done without waiting needs what they say.
  let settings = await policy.settings();
  const deployer = await openDeployer(board, {
    ...{ identity, remote, onWarning: o.onWarning, checkpoint: o.checkpoint },
    verify: () => settings.verify,
  });
  const bootLoader = { kind: null as string | null };
  return {
    identity: () => identity,
    async follow(change) {
      identity = await changeChannel(board, { identity, ...change });
    },
    deployer,
    client,
    policy: {
      ...policy,
      async settings() {
        settings = await policy.settings();
        return settings;
      },
      get problems() {
        return policy.problems;
      },
    },
    clock,
    setBooted(commit) {
      booted = commit;
      deployer.bootLoader().then(
        (kind) => {
          bootLoader.kind = kind;
        },
        () => {},
      );
    },
    serverTime: () => heard,
    details() {
      const behind = clock.behind() ?? 0;
      return {
        ...(bootLoader.kind === null || bootLoader.kind === 'none' ? {} : { bootLoader: bootLoader.kind }),
        ...(Math.abs(behind) > CLOCK_TOLERANCE ? { clockBehind: Math.round(behind / 1000) } : {}),
        ...(policy.problems.length > 0 ? { settings: policy.problems } : {}),
        ...(store.current.pinned === null ? {} : { pinned: store.current.pinned.why }),
      };
    },
    close: () => agent.destroy(),
  };
}

/** Where an operator's files are: in /etc on a machine, in the board's own folder for a folder. */
function policyPlaces(board: string, identity: Identity): PolicyPlaces {
  const memory = boardPaths(board).agent;
  if (runsOnItself(identity)) return { folder: '/etc/treeline', locks: '/run/treeline/locks', memory };
  const folder = join(resolve(board), 'settings');
  return { folder, locks: join(folder, 'locks'), memory };
}

export function runsOnItself(identity: Identity): boolean {
  return identity.deployer.kind === 'ostree-sysroot' && identity.deployer.sysroot === '/';
}

/** What the gateway is told of what this board is. */
export function inventoryOf(identity: Identity): Record<string, unknown> {
  return {
    hostname: hostname(),
    arch: arch(),
    kernel: kernel(),
    memoryBytes: totalmem(),
    hardwareId: identity.hardwareId,
    deployer: identity.deployer.kind,
    node: process.version,
  };
}

/** The time cannot be before anything that this board has from its server, nor after the CA that is in use ends. */
function boundsOf(tls: { cert: string; ca: string }, heard: number | null): { earliest: number; latest: number } {
  const ca = new X509Certificate(tls.ca);
  const own = new X509Certificate(tls.cert);
  const earliest = Math.max(Date.parse(ca.validFrom), Date.parse(own.validFrom), heard ?? 0);
  return { earliest, latest: Date.parse(ca.validTo) };
}
