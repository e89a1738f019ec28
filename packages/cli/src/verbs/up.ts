import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningServer, Settings, SettingsFragment } from '@treeline/server';
import type { Command } from 'commander';
import { list, port, seconds } from '../arguments.ts';
import { builtIns } from '../built-ins.ts';
import { createClient } from '../connection/client.ts';
import { readEvents } from '../connection/events.ts';
import { dataFolder, readAdminToken, shortPath } from '../connection/folder.ts';
import { CliError, toCliError } from '../errors.ts';
import { paint } from '../output/colour.ts';
import { printJsonLine, printText } from '../output/document.ts';
import { formatEvent } from '../output/event.ts';
import { printError } from '../output/failure.ts';
import { fields } from '../output/fields.ts';
import { formatRunner } from '../output/runner.ts';
import { terminalWidth } from '../output/table.ts';
import { fetchRunners, type Runners } from '../runners.ts';
import { optionsOf, type Session } from '../session.ts';

type UpOptions = {
  port?: number;
  gatewayPort?: number;
  listen?: string;
  allowRemote?: boolean;
  tlsCert?: string;
  tlsKey?: string;
  tlsClientCa?: string;
  trustedProxy?: string[];
  gatewayListen?: string;
  gatewayName?: string[];
  defaultLabel?: string;
  runner: boolean;
  unsandboxed?: boolean;
  emulate?: string[];
  boards?: string[];
  poll?: number;
  database?: string;
};

/** The embedded runner has this long to come before it is reported as missing. */
const runnerPatience = 15_000;

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Start the server in this terminal: API, scheduler, an embedded runner, and the gateway for devices. Ctrl-C stops it; started again it goes on where it was. ' +
        'What has no option here can be set in settings.json in the data folder, which SIGHUP reads again.',
    )
    .option('--port <port>', 'port of the API, 0 for any free one (default: 8420)', port)
    .option('--gateway-port <port>', 'port of the device gateway, 0 for any free one (default: 8421)', port)
    .option('--listen <address>', 'address of the API (default: 127.0.0.1)')
    .option('--tls-cert <file>', 'speak HTTPS with this certificate (PEM); renewals are noticed')
    .option('--tls-key <file>', 'its key')
    .option(
      '--tls-client-ca <file>',
      'take client certificates of this authority: treeline token create --certificate-name',
    )
    .option('--allow-remote', 'let --listen be an address that other machines reach although it is plain HTTP')
    .option('--trusted-proxy <networks>', 'proxies in front, whose X-Forwarded-For is believed (comma list)', list)
    .option('--gateway-listen <address>', 'address of the gateway, which has mutual TLS (default: 127.0.0.1)')
    .option(
      '--gateway-name <names>',
      'names or addresses devices reach the gateway by (comma list), for its certificate',
      list,
    )
    .option('--default-label <label>', 'label of commits of which nothing says anything (default: public)')
    .option('--no-runner', 'start no embedded runner')
    .option('--unsandboxed', 'let the runner run jobs without a sandbox: they can do all that you can')
    .option('--emulate <what>', 'what the runner pretends to have (comma list), such as gpu,aarch64', list)
    .option(
      '--boards <boards>',
      'boards that systems are tried on (comma list): qemu-x86_64, or paths of board files',
      list,
    )
    .option('--poll <seconds>', 'how often the git repositories are looked at (default: 5)', seconds)
    .option(
      '--database <url>',
      'postgres://… (default: SQLite in the data folder); TREELINE_DATABASE keeps a password off the command line',
    )
    .addHelpText('after', '\nWith --json: one line when it is up, one for each event.')
    .action((_: object, self: Command) => up(self, session));
}

async function up(self: Command, session: Session): Promise<void> {
  const options = optionsOf<UpOptions>(self);
  if (options.server)
    throw new CliError('usage', '--server names a server that runs; this starts one.', { hint: 'Leave it out.' });
  const folder = dataFolder(options.data);
  const isFirst = !existsSync(join(folder, 'admin-token'));
  const { LOCAL_GATEWAY_NAMES, loadSettings, settingsFromEnvironment, settingsFromFile, startServer } = await import(
    '@treeline/server'
  );
  const read = () =>
    loadSettings(
      { logLevel: 'error' },
      settingsFromFile(folder),
      settingsFromEnvironment(process.env),
      fragment(folder, options, LOCAL_GATEWAY_NAMES),
    );
  const settings = read();
  const server = await startServer(settings, { builtIns });
  try {
    session.reread = () => void reread(server, read, options.json === true);
    if (session.signal.aborted) return;
    announce(server, { folder, isFirst, json: options.json === true, emulate: settings.emulate });
    await tell(server, { folder, session, json: options.json === true, runner: settings.runner });
  } finally {
    session.reread = undefined;
    if (!options.json) printText(paint('dim', '\nStopping; what is unfinished goes on at the next start.'));
    await server.close();
  }
}

/** Settings that are no good change nothing: the server goes on with those that it has. */
async function reread(server: RunningServer, read: () => Settings, json: boolean): Promise<void> {
  try {
    const { changed, later } = await server.reload(read());
    if (json) return printJsonLine({ type: 'reloaded', changed, later });
    const now = changed.length === 0 ? 'nothing new that counts now' : changed.join(', ');
    const next = later.length === 0 ? '' : `; at the next start: ${later.join(', ')}`;
    printText(`Read the settings again: ${now}${next}`);
  } catch (error) {
    printError(toCliError(error), { json });
  }
}

/** What the command line says, in the server's terms; what it does not say is left to the environment and defaults. */
function fragment(dataDir: string, options: UpOptions, localNames: readonly string[]): SettingsFragment {
  const gatewayNames = options.gatewayName && [...new Set([...localNames, ...options.gatewayName])];
  return {
    dataDir,
    port: options.port,
    gatewayPort: options.gatewayPort,
    host: options.listen,
    allowRemote: options.allowRemote,
    tlsCert: options.tlsCert && resolve(options.tlsCert),
    tlsKey: options.tlsKey && resolve(options.tlsKey),
    tlsClientCa: options.tlsClientCa && resolve(options.tlsClientCa),
    trustedProxies: options.trustedProxy,
    gatewayHost: options.gatewayListen,
    gatewayNames,
    runner: options.runner,
    unsandboxed: options.unsandboxed,
    emulate: options.emulate,
    // A path is meant from here, and the runner is started elsewhere.
    boards: options.boards?.map((board) => (/[/]|\.ya?ml$/.test(board) ? resolve(board) : board)),
    defaultLabel: options.defaultLabel,
    pollSeconds: options.poll,
    database: options.database,
  };
}

type Announcement = { folder: string; isFirst: boolean; json: boolean; emulate: readonly string[] };

function announce(server: RunningServer, o: Announcement): void {
  const token = join(o.folder, 'admin-token');
  if (o.json) {
    const { url, gatewayUrl } = server;
    printJsonLine({ type: 'up', url, gatewayUrl, dataDir: o.folder, adminToken: token, firstStart: o.isFirst });
    return;
  }
  printText(`${paint(['bold', 'green'], 'Treeline is up')}\n`);
  const made = o.isFirst ? `  ${paint('yellow', 'made now, at this first start')}` : '';
  printText(
    fields([
      ['API', `${paint('bold', server.url)}  ${paint('dim', 'repositories below /repos/')}`],
      ['gateway', `${paint('bold', server.gatewayUrl)}  ${paint('dim', 'devices, mutual TLS')}`],
      ['data', shortPath(o.folder)],
      ['admin token', `${shortPath(token)}${made}`],
    ]),
  );
}

/** Prints the embedded runner once it is there, then one line for each event, until interrupted. */
async function tell(
  server: RunningServer,
  o: { folder: string; session: Session; json: boolean; runner: boolean },
): Promise<void> {
  const { signal } = o.session;
  const client = createClient(
    { url: new URL(`${server.localUrl.replace(/\/$/, '')}/`), token: readAdminToken(o.folder), folder: o.folder },
    { signal },
  );
  try {
    if (!o.json) {
      if (o.runner) tellRunner(await awaitRunner(() => fetchRunners(client), signal));
      else
        printText(
          paint('dim', 'No embedded runner: jobs wait for one elsewhere; compositions are made by the server.'),
        );
      printText(paint('dim', '\nCtrl-C stops it. In another terminal: treeline project add URL|PATH\n'));
    }
    for (let lastEventId: string | undefined; !signal.aborted; ) {
      for await (const event of readEvents(client, lastEventId === undefined ? {} : { lastEventId })) {
        if (event.id) lastEventId = event.id;
        if (o.json) printJsonLine({ id: Number(event.id), type: event.type, data: event.data });
        else {
          const line = formatEvent(event, { now: Date.now(), width: terminalWidth() });
          if (line) printText(line);
        }
      }
      await sleep(500, undefined, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** The runners, once the embedded one is online or has a problem that a person must know. */
async function awaitRunner(ask: () => Promise<Runners>, signal: AbortSignal): Promise<Runners> {
  const until = Date.now() + runnerPatience;
  for (;;) {
    const answer = await ask();
    const isThere = answer.runners.some((runner) => runner.embedded && runner.online);
    if (isThere || answer.embedded.problem || Date.now() > until) return answer;
    await sleep(100, undefined, { signal });
  }
}

function tellRunner({ runners, embedded }: Runners): void {
  const runner = runners.find((candidate) => candidate.embedded && candidate.online);
  const problem = embedded.problem ?? 'it has not come up yet';
  printText(runner ? formatRunner(runner) : `${paint('yellow', 'No runner:')} ${problem}`);
}
