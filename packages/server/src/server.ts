import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { rm } from 'node:fs/promises';
import { getRequestListener } from '@hono/node-server';
import { createRepo, PushReceiver } from '@treeline/ostree';
import pino from 'pino';
import { createAddressReader } from './access/address.ts';
import { createAuditLog } from './access/audit.ts';
import { createAuthenticator } from './access/authenticator.ts';
import { createFailedLogins } from './access/failed-logins.ts';
import { openRootTokens } from './access/root-tokens.ts';
import { accessRoutes } from './access/routes.ts';
import { createThrottle } from './access/throttle.ts';
import { openTokens } from './access/tokens.ts';
import { createApi } from './api/app.ts';
import { commitRoutes } from './api/commits.ts';
import { eventRoutes } from './api/events.ts';
import { executionRoutes } from './api/executions.ts';
import { labelRoutes } from './api/labels.ts';
import { projectRoutes } from './api/projects.ts';
import { releaseRoutes } from './api/releases.ts';
import { repositoryRoutes } from './api/repositories.ts';
import { retentionRoutes } from './api/retention.ts';
import { runnerRoutes } from './api/runner.ts';
import { runRoutes } from './api/runs.ts';
import { statusRoutes } from './api/status.ts';
import { type BuiltInMakers, createBuiltIns } from './built-ins/built-ins.ts';
import { openAuthority } from './ca/index.ts';
import type { Core } from './core.ts';
import { lockDataFolder, writeServerFile } from './data-folder.ts';
import { lockDatabase } from './database/lock.ts';
import { openDatabase } from './database/open.ts';
import { createPointers, createRegistry, deviceRoutes, pointerRoutes } from './devices/index.ts';
import { createDifferences } from './differences/differences.ts';
import { differenceRoutes } from './differences/routes.ts';
import { createEventLog } from './events/log.ts';
import { runComposer } from './executions/compose.ts';
import { createLeases } from './executions/leases.ts';
import { createLogFiles } from './executions/log-files.ts';
import { createGateway, type Gateway } from './gateway/index.ts';
import { createLab } from './lab/lab.ts';
import { createOriginReader } from './labels/origins.ts';
import { createCertificateNames } from './listen/certificate-name.ts';
import { listen } from './listen/listener.ts';
import { runPublisher } from './publish/publisher.ts';
import { openRepositories } from './publish/registry.ts';
import { publishedRepositories } from './publish/repositories.ts';
import { pushLimits, pushMount } from './push/mount.ts';
import { recoverMoves } from './push/record.ts';
import { treehubMount } from './push/treehub.ts';
import { readProvenance } from './reading/commits.ts';
import { channelHead } from './reading/releases.ts';
import { type Reloaded, reloadSettings } from './reload.ts';
import { clearLeftovers, createRetention } from './retention/retention.ts';
import { createRunnerProcess } from './runner-process/runner-process.ts';
import { runScheduler } from './runs/scheduler.ts';
import type { Settings } from './settings.ts';
import { createSources } from './sources/sources.ts';
import { storeMount } from './store/mount.ts';
import { createWakeup } from './wakeup.ts';

export interface RunningServer {
  /** Base URL of the API, `http://127.0.0.1:8420`. */
  url: string;
  /** The same for what runs on this machine: another one where `url` is HTTPS. */
  localUrl: string;
  /** Base URL of the device gateway. */
  gatewayUrl: string;
  /** Takes over of settings what can change while it runs. Certificates are looked at by themselves. */
  reload(settings: Settings): Promise<Reloaded>;
  /** Ends everything in order; unfinished work continues at the next start. */
  close(): Promise<void>;
}

const EXPIRE_LOOK_MS = 1000;
const TIDY_TOKENS_MS = 60_000;

/**
 * Starts the server: see `settings.ts` for what can be set. What an earlier life left unfinished goes on.
 *
 * @param builtIns what makes the artifacts that come with Treeline
 *
 * @throws ServerError `data-folder-busy`, `unavailable` (database, ports).
 */
export async function startServer(
  settings: Settings,
  { builtIns = {} }: { builtIns?: BuiltInMakers } = {},
): Promise<RunningServer> {
  // Undone in reverse order, at close or when the start fails half-way.
  await using undo = new AsyncDisposableStack();
  const folder = lockDataFolder(settings.dataDir);
  undo.defer(() => folder.unlock());
  const db = await openDatabase(settings.database);
  undo.defer(() => db.destroy());
  const unlockDatabase = await lockDatabase(settings.database);
  undo.defer(unlockDatabase);
  const roots = await openRootTokens(db, { admin: folder.adminToken, runner: folder.runnerToken });
  const closing = new AbortController();
  // Every open stream and long poll listens to it.
  setMaxListeners(0, closing.signal);
  const events = createEventLog(db);
  const audit = createAuditLog(db);
  const privateStore = await createRepo(folder.store, { mode: 'archive' });
  const core: Core = {
    settings,
    db,
    folder,
    events,
    audit,
    repositories: await openRepositories({ db, events, audit, folder, publicNames: settings.publicRepositories }),
    log: pino({ level: settings.logLevel, base: null }, pino.destination(2)),
    store: privateStore,
    origins: createOriginReader({ db, store: privateStore }),
    builtIns: createBuiltIns({ db, store: privateStore }, builtIns),
    session: randomBytes(8).toString('hex'),
    signal: closing.signal,
    work: createWakeup(),
    runs: createWakeup(),
    publishing: createWakeup(),
  };
  await clearLeftovers(core, { alone: true });
  const retention = createRetention(core);
  const logs = createLogFiles(folder.logs);
  const sources = createSources(core);

  let url = '';
  let localUrl = '';
  const runner = createRunnerProcess({ core, url: () => localUrl, ended: (id, o) => leases.endSession(id, o) });
  const tokens = await openTokens(core);
  const failures = createFailedLogins(core);
  undo.defer(async () => {
    await Promise.allSettled([tokens.tidy(), failures.flush()]);
  });
  const certificates = createCertificateNames();
  const authenticator = createAuthenticator({
    roots,
    tokens,
    failures,
    throttle: createThrottle(),
    sessionOf: (token) => runner.sessionOf(token),
    addressOf: createAddressReader(settings.trustedProxies),
    certificateOf: (req) => certificates.of(req),
  });

  const releases = { current: (repository: string, channel: string) => channelHead(db, repository, channel) };
  const registry = createRegistry({ ...core, releases });
  const pointers = createPointers(core);
  const differences = createDifferences(core);
  const lab = createLab({ core, registry, gateway: () => gateway });
  const leases = createLeases(core, logs, lab);
  await leases.recover();
  let gateway: Gateway | null = null;
  const authority = await openAuthority({ dir: folder.ca, names: settings.gatewayNames });
  const gatewayRuns = await createGateway({
    authority,
    registry,
    pointers,
    lab,
    differences,
    storeDir: folder.store,
    log: core.log,
    reposDir: folder.repos,
    settings,
  });
  gateway = gatewayRuns;
  undo.defer(() => gatewayRuns.close());

  const api = createApi({
    authenticator,
    log: core.log,
    bodyLimit: settings.bodyLimit,
    routes: [
      projectRoutes(core, sources),
      runRoutes(core),
      executionRoutes(core, logs),
      commitRoutes(core),
      releaseRoutes(core),
      labelRoutes(core),
      retentionRoutes(core, retention),
      repositoryRoutes(core),
      eventRoutes(core),
      statusRoutes({ core, runner, startedAt: Date.now(), urls: () => ({ url, gatewayUrl: gatewayRuns.url }) }),
      runnerRoutes(leases, lab),
      pointerRoutes(pointers),
      differenceRoutes(differences),
      accessRoutes({ db, tokens }),
      deviceRoutes({
        registry,
        pointers,
        provenance: (commit) => readProvenance(core, commit),
        gateway: () => gatewayRuns,
      }),
    ],
  });
  const repositories = publishedRepositories({
    dir: folder.repos,
    accessOf: (name) => core.repositories.accessOf(name),
    authenticator,
  });
  await recoverMoves(core);
  const receiver = await PushReceiver.open(core.store, { limits: pushLimits(settings) });
  undo.defer(() => receiver.close());
  const pushes = pushMount({ core, receiver, authenticator });
  const treehub = treehubMount({ core, receiver, authenticator });
  const store = storeMount({ core, authenticator });
  const answer = getRequestListener(api.fetch);
  const listener = await listen({
    settings,
    certificates,
    log: core.log,
    signal: closing.signal,
    handle: (req, res) => {
      const own = [repositories, pushes, treehub, store].some((mount) => mount(req, res));
      if (!own) void answer(req, res);
    },
  });
  undo.defer(() => listener.close());
  ({ url, localUrl } = listener);

  const loops = [
    runScheduler(core),
    runComposer(core, leases),
    runPublisher(core),
    retention.run(),
    sources.watch(),
    runner.start(),
    every(core, EXPIRE_LOOK_MS, { name: 'leases', task: () => leases.expire() }),
    every(core, TIDY_TOKENS_MS, { name: 'tokens', task: () => tokens.tidy() }),
  ];
  undo.defer(async () => {
    closing.abort();
    // The server still answers while the runner reports what it gives up.
    await Promise.allSettled(loops);
  });
  await writeServerFile(folder, { url, local: localUrl, gateway: gatewayRuns.url, pid: process.pid });
  undo.defer(() => rm(folder.serverFile, { force: true }));
  if (roots.made.includes('admin')) core.log.info(`the admin token is in ${folder.adminToken}`);
  core.log.info({ url, gateway: gatewayRuns.url, dataDir: folder.path }, 'the server is up');

  const running = undo.move();
  let closed: Promise<void> | null = null;
  return {
    url,
    localUrl,
    gatewayUrl: gatewayRuns.url,
    reload: (wanted) => reloadSettings(core, wanted),
    close() {
      closed ??= running.disposeAsync();
      return closed;
    },
  };
}

/** Does something again and again until the server closes. */
async function every(core: Core, ms: number, o: { name: string; task: () => Promise<void> }): Promise<void> {
  while (!core.signal.aborted) {
    await o.task().catch((error) => core.log.error({ err: error }, `${o.name} could not be looked at`));
    await createWakeup().past(0, ms, core.signal);
  }
}
