import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { isLabel, labelForm } from '@treeline/pipeline';
import { z } from 'zod';
import { Network } from './access/address.ts';
import { ServerError } from './errors.ts';

const Port = z.number().int().min(0).max(65535);
const Seconds = z.number().positive().max(86_400);

/** Everything that can be set, with what it means. Defaults are in `defaults()`. */
const Schema = z.strictObject({
  /** Absolute path of the data folder; made when it is missing. */
  dataDir: z.string().min(1),
  /** `sqlite:<path>` or `postgres://…`. Default: `treeline.db` in the data folder. */
  database: z.string().min(1),
  /** Address of the API and the published repositories. */
  host: z.string().min(1),
  /** Port of the API; 0 = any free one. */
  port: Port,
  /** Address of the device gateway (mutual TLS, so it is not bound to loopback by `allowRemote`). */
  gatewayHost: z.string().min(1),
  /** Port of the device gateway; 0 = any free one. */
  gatewayPort: Port,
  /** Names and addresses that devices reach the gateway by, for its certificate. Default: localhost and loopback. */
  gatewayNames: z.array(z.string().min(1)),
  /** What a device that is not registered but has a valid certificate (it was removed, say) gets in as. */
  unknownDevices: z.enum(['accept', 'pending', 'refuse']),
  /**
   * Allows `host` to be another address than loopback without TLS. The tokens would cross the network readable: for a
   * TLS proxy in front that is on another machine.
   */
  allowRemote: z.boolean(),
  /** Absolute path of the server's certificate (PEM, with those between it and its root); null = plain HTTP. */
  tlsCert: z.string().min(1).nullable(),
  /** Absolute path of its key. Both are read again when they change: renewals need no restart. */
  tlsKey: z.string().min(1).nullable(),
  /** Absolute path of the authorities whose client certificates stand for tokens of their common name. */
  tlsClientCa: z.string().min(1).nullable(),
  /** Connections to the API and the repositories at the same time; one address may have a quarter of them. */
  maxConnections: z.number().int().min(1).max(1_000_000),
  /** How often each project's git repository is looked at. */
  pollSeconds: Seconds,
  /** Limit of one git command. */
  gitTimeoutSeconds: Seconds,
  /** A lease that no heartbeat renews for this long is lost. */
  leaseSeconds: Seconds,
  /** How often runners are told to send heartbeats; well below `leaseSeconds`. */
  heartbeatSeconds: Seconds,
  /** Leases that may be lost before the execution fails as infrastructure. */
  maxAttempts: z.number().int().min(1).max(100),
  /** Whether a runner process is started with the server. */
  runner: z.boolean(),
  /** Program that is forked as the embedded runner, with the argument `runner`. Default: the `treeline` command. */
  runnerProgram: z.string().min(1),
  /** What the embedded runner pretends to have (`gpu`, `aarch64`), so that one machine can show the whole line. */
  emulate: z.array(z.string().min(1)),
  /** Boards that the embedded runner tries systems on: names of boards, or absolute paths of board files. */
  boards: z.array(z.string().min(1)),
  /** Lets the embedded runner run jobs without bubblewrap: any job can then read and write what the server can. */
  unsandboxed: z.boolean(),
  /** Fingerprint that stands for the image "host" in cache keys. Default: hash of os-release and the dpkg status. */
  hostImage: z.string().min(1),
  /** Published repositories that are made at the start, if they are missing, for anybody to read. */
  publicRepositories: z.array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/)),
  /** Proxies whose `X-Forwarded-For` is believed: addresses, or networks such as `10.0.0.0/8`. */
  trustedProxies: z.array(Network),
  /** How often it is looked for what retention drops, and for what goes. */
  retentionSeconds: Seconds,
  /**
   * Days for which the result of a job, or a source revision, is kept after a run has used it last, when nothing else
   * needs it: no ref, no release that a repository keeps, no pin, no device. Then it is forgotten, and made again when
   * a run wants it.
   */
  unusedDays: z.number().min(1).max(36_500),
  /** Days for which the private store then keeps a commit, or any commit or object that nothing names. */
  storeGraceDays: z.number().min(0).max(36_500),
  /** Label of commits of which nothing says anything, neither of them nor of what they were made from. */
  defaultLabel: z.string().refine(isLabel, `expected ${labelForm}`),
  /** Bytes that one push may stage before it is whole, and so the largest object, too. */
  pushBytes: z.number().int().min(1024),
  /** Bytes that all pushes together may stage. What the disk has free is looked at besides. */
  pushTotalBytes: z.number().int().min(1024),
  /** Pushes that one token may have begun; beyond, the one that was quiet longest is given up. */
  pushesPerCaller: z.number().int().min(1).max(10_000),
  /** Hours after which a push is given up that nobody goes on with. */
  pushIdleHours: z.number().positive().max(8760),
  /** Largest request body, in bytes; log chunks of runners included. */
  bodyLimit: z.number().int().min(1024),
  /** pino level of the server's own log. */
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
});

/**
 * What the gateway is called on its own machine: also the addresses by which a board in QEMU reaches that machine, so
 * that board jobs need no setting.
 */
export const LOCAL_GATEWAY_NAMES = ['localhost', '127.0.0.1', '::1', '10.0.2.4', '10.0.2.2'] as const;

export type Settings = Readonly<z.infer<typeof Schema>>;
/** A part of the settings: from a file, the environment, the command line. Undefined values say nothing. */
export type SettingsFragment = { [K in keyof Settings]?: Settings[K] | undefined };

function defaults(dataDir: string): Omit<Settings, 'dataDir'> {
  return {
    database: `sqlite:${resolve(dataDir, 'treeline.db')}`,
    host: '127.0.0.1',
    port: 8420,
    gatewayHost: '127.0.0.1',
    gatewayPort: 8421,
    gatewayNames: [...LOCAL_GATEWAY_NAMES],
    unknownDevices: 'pending',
    allowRemote: false,
    tlsCert: null,
    tlsKey: null,
    tlsClientCa: null,
    maxConnections: 2048,
    pollSeconds: 5,
    gitTimeoutSeconds: 300,
    leaseSeconds: 30,
    heartbeatSeconds: 2,
    maxAttempts: 3,
    runner: true,
    runnerProgram: new URL('../../cli/bin/treeline.js', import.meta.url).pathname,
    emulate: [],
    boards: [],
    unsandboxed: false,
    hostImage: hostFingerprint(),
    publicRepositories: ['public'],
    defaultLabel: 'public',
    trustedProxies: [],
    retentionSeconds: 60,
    unusedDays: 30,
    storeGraceDays: 7,
    pushBytes: 64 * 1024 ** 3,
    pushTotalBytes: 256 * 1024 ** 3,
    pushesPerCaller: 16,
    pushIdleHours: 24,
    bodyLimit: 4 * 1024 * 1024,
    logLevel: 'info',
  };
}

const ENVIRONMENT: Record<string, (value: string) => SettingsFragment> = {
  TREELINE_DATA: (value) => ({ dataDir: value }),
  TREELINE_DATABASE: (value) => ({ database: value }),
  TREELINE_LOG_LEVEL: (value) => ({ logLevel: value as Settings['logLevel'] }),
};

/** Fragment of the environment: TREELINE_DATA, TREELINE_DATABASE (keeps a password off the command line), TREELINE_LOG_LEVEL. */
export function settingsFromEnvironment(environment: NodeJS.ProcessEnv): SettingsFragment {
  return Object.assign(
    {},
    ...Object.entries(ENVIRONMENT).map(([name, read]) => {
      const value = environment[name];
      return value === undefined || value === '' ? {} : read(value);
    }),
  ) as SettingsFragment;
}

/**
 * The settings: defaults, then each fragment over the one before, checked as a whole and frozen.
 *
 * @throws ServerError `settings-invalid` naming the key; also when `host` is not loopback without `allowRemote`.
 */
export function loadSettings(...fragments: SettingsFragment[]): Settings {
  const merged: Record<string, unknown> = {};
  for (const fragment of fragments) {
    for (const [key, value] of Object.entries(fragment)) if (value !== undefined) merged[key] = value;
  }
  if (typeof merged.dataDir !== 'string' || merged.dataDir === '') {
    throw new ServerError('settings-invalid', 'no data folder is set', {
      hint: 'Give one with --data, or set TREELINE_DATA.',
    });
  }
  merged.dataDir = resolve(merged.dataDir);
  const parsed = Schema.safeParse({ ...defaults(merged.dataDir as string), ...merged });
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'settings'}: ${issue.message}`);
    throw new ServerError('settings-invalid', `the settings are not valid: ${issues.join('; ')}`);
  }
  const settings = parsed.data;
  checkTogether(settings);
  return Object.freeze(settings);
}

function checkTogether(settings: Settings): void {
  if ((settings.tlsCert === null) !== (settings.tlsKey === null)) {
    throw new ServerError('settings-invalid', 'tlsCert and tlsKey go together: one of them is not set');
  }
  if (settings.tlsClientCa !== null && settings.tlsCert === null) {
    throw new ServerError('settings-invalid', 'tlsClientCa is of use only with tlsCert and tlsKey');
  }
  for (const key of ['tlsCert', 'tlsKey', 'tlsClientCa'] as const) {
    const path = settings[key];
    if (path !== null && !isAbsolute(path)) {
      throw new ServerError('settings-invalid', `${key} must be an absolute path: ${path}`);
    }
  }
  if (!isLoopback(settings.host) && !settings.allowRemote && settings.tlsCert === null) {
    throw new ServerError('settings-invalid', `the API would listen on ${settings.host}, which other machines reach`, {
      hint: 'It is plain HTTP: set tlsCert and tlsKey (--tls-cert, --tls-key), or keep 127.0.0.1 and put a TLS proxy in front. allowRemote (--allow-remote) accepts the risk.',
    });
  }
  if (settings.heartbeatSeconds * 2 > settings.leaseSeconds) {
    throw new ServerError(
      'settings-invalid',
      `heartbeatSeconds (${settings.heartbeatSeconds}) must be at most half of leaseSeconds (${settings.leaseSeconds})`,
      { hint: 'One late heartbeat must not lose a lease.' },
    );
  }
  if (!isAbsolute(settings.runnerProgram)) {
    throw new ServerError('settings-invalid', `runnerProgram must be an absolute path: ${settings.runnerProgram}`);
  }
}

/** Whether an address is only reachable from this machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

/** Stands for the host's /usr in cache keys: another distribution or package set is another image. */
function hostFingerprint(): string {
  const hash = createHash('sha256').update(process.arch);
  for (const file of ['/etc/os-release', '/var/lib/dpkg/status', '/lib/apk/db/installed']) {
    hash.update(`\0${file}\0`);
    if (existsSync(file)) hash.update(readFileSync(file));
  }
  return hash.digest('hex');
}
