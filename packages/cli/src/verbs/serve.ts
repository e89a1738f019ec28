import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, isIP } from 'node:net';
import type { Repo } from '@treeline/ostree';
import type { DeviceDetail } from '@treeline/server';
import type { Command } from 'commander';
import { span } from '../arguments.ts';
import { shortPath } from '../connection/folder.ts';
import { CliError } from '../errors.ts';
import { paint } from '../output/colour.ts';
import { printJsonLine, printText } from '../output/document.ts';
import { clockTime, nearTime } from '../output/duration.ts';
import { oneLine } from '../output/text.ts';
import { shortId } from '../output/words.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';
import { addressTowards, Peers } from '../workspace/peers.ts';

type ServeOptions = { listen?: string; allow?: string[]; device?: string[]; for?: number; json?: boolean };

/** Always the same, so that a device that was pointed here finds it again after a pause. */
const PORT = 8422;
const LOOPBACK = '127.0.0.1';

export function declare(command: Command, session: Session): void {
  const collect = (text: string, all: string[] = []) => [...all, text];
  command
    .description(
      'Serve what you committed to devices and to stock `ostree`, over plain HTTP, from this machine, to the addresses ' +
        'that you name and nobody else; until Ctrl-C. Nothing but what the served refs need is given out.',
    )
    .argument('[what]', 'a workspace, or a ref of your repository (default: the workspace here, else all dev/ refs)')
    .option('--allow <address>', 'let this address in, or a network such as 192.168.1.0/24; may be repeated', collect)
    .option('--device <id>', 'let in the address that this device was last seen at; may be repeated', collect)
    .option('--listen <address>', `ADDRESS, ADDRESS:PORT or :PORT (default: as --allow needs it, port ${PORT})`)
    .option('--for <span>', 'end by itself: 30m, 8h', span)
    .addHelpText(
      'after',
      '\nWithout --allow and --device only this machine can ask.\n\nExample:\n  treeline serve ~/robot --device robot-1 --for 8h',
    )
    .action((what: string | undefined, _: object, self: Command) => run(what, self, session));
}

async function run(what: string | undefined, self: Command, session: Session): Promise<void> {
  const options = optionsOf<ServeOptions>(self);
  const { openHome } = await import('../workspace/home.ts');
  const { servedRefs } = await import('../workspace/served-refs.ts');
  const { repo } = await openHome();
  const refs = await refsOf(what, repo);
  const peers = await allowedPeers(options, session);
  const { host, port } = await placeToListen(options.listen, peers);

  const handle = await servedRefs(repo, {
    refs: refs.named,
    allows: (address) => peers.allows(address),
    onPeer: (address, allowed) => tellPeer(address, allowed, options.json === true),
  });
  const server = createServer(handle);
  await listen(server, { host, port });
  try {
    const url = await urlOf(server, host, peers);
    await announce({ url, refs: refs.heads, peers, options });
    const { signal } = session;
    const time = options.for === undefined ? [] : [AbortSignal.timeout(options.for * 1000)];
    const end = AbortSignal.any([signal, ...time]);
    if (!end.aborted) await once(end, 'abort');
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

type Refs = { named: readonly string[] | null; heads: ReadonlyMap<string, string> };

/** The refs that are meant, and what they are now. */
async function refsOf(what: string | undefined, repo: Repo): Promise<Refs> {
  const { isRefName, listRefs, readRef } = await import('@treeline/ostree');
  const { tryWorkspace } = await import('../workspace/record.ts');
  const workspace = what === undefined ? await workspaceHere() : tryWorkspace(what);
  if (workspace) {
    const { ref } = workspace.record;
    const commit = ref === null ? null : await readRef(repo, ref);
    if (ref === null || commit === null) {
      throw new CliError('not-found', `Nothing was committed in ${shortPath(workspace.folder)} yet.`, {
        hint: `treeline commit ${shortPath(workspace.folder)}`,
      });
    }
    return { named: [ref], heads: new Map([[ref, commit]]) };
  }
  if (what !== undefined) {
    const commit = isRefName(what) ? await readRef(repo, what) : null;
    if (commit) return { named: [what], heads: new Map([[what, commit]]) };
    throw new CliError('not-found', `${what} is neither a workspace nor a ref of your repository.`, {
      hint: existsSync(what)
        ? `What is in ${what} was not checked out by you: treeline checkout REV DIR`
        : `Its refs: treeline repo refs --repo ${shortPath(repo.path)}`,
    });
  }
  const heads = new Map([...(await listRefs(repo))].filter(([ref]) => ref.startsWith('dev/')));
  if (heads.size > 0) return { named: null, heads };
  throw new CliError('not-found', 'You have committed nothing yet.', {
    hint: 'treeline checkout robot/stable DIR, change it, treeline commit DIR',
  });
}

async function workspaceHere() {
  const { findWorkspace } = await import('../workspace/record.ts');
  try {
    return findWorkspace('.');
  } catch (error) {
    if (error instanceof CliError && error.code === 'not-found') return null;
    throw error;
  }
}

async function allowedPeers(options: ServeOptions, session: Session): Promise<Peers> {
  const peers = new Peers();
  for (const address of options.allow ?? []) peers.allow(address);
  for (const id of options.device ?? []) {
    const device = await clientOf(session, options).get<DeviceDetail>(`devices/${encodeURIComponent(id)}`);
    if (device.address === null) {
      throw new CliError('not-found', `The server does not know from where ${id} speaks to it.`, {
        hint: 'Name its address: --allow ADDRESS',
      });
    }
    peers.allow(device.address);
  }
  return peers;
}

/** Where to listen: what was said; else on loopback, or where those that are let in can reach it. */
async function placeToListen(text: string | undefined, peers: Peers): Promise<{ host: string; port: number }> {
  if (text !== undefined) {
    const { host, port = PORT } = parseListen(text);
    return { host: host ?? (peers.named.length > 0 ? '::' : LOOPBACK), port };
  }
  const towards = await Promise.all(peers.named.map(addressTowards));
  const addresses = new Set(towards.filter((address) => address !== null && !isLoopback(address)));
  if (addresses.size === 0) return { host: LOOPBACK, port: PORT };
  const [only] = addresses;
  return { host: addresses.size === 1 ? only! : '::', port: PORT };
}

function parseListen(text: string): { host?: string; port?: number } {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:]*))(?::(\d{1,5}))?$/i.exec(text);
  const host = isIP(text) === 6 ? text : (match?.[1] ?? match?.[2] ?? '');
  const port = isIP(text) === 6 || match?.[3] === undefined ? undefined : Number(match[3]);
  if (
    (!match && isIP(text) !== 6) ||
    (host !== '' && isIP(host) === 0 && host !== 'localhost') ||
    (port ?? 0) > 65535
  ) {
    throw new CliError('usage', `--listen takes an address of this machine: ${text}`, {
      hint: 'Write it like this: --listen 192.168.1.5, --listen 192.168.1.5:8422 or --listen :8422',
    });
  }
  return { ...(host === '' ? {} : { host }), ...(port === undefined ? {} : { port }) };
}

async function listen(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const hint =
        error.code === 'EADDRINUSE'
          ? 'Another `treeline serve` may be running: end it, or choose another port: --listen :8423'
          : 'Name an address of this machine: --listen ADDRESS';
      const code = error.code === 'EADDRINUSE' ? 'conflict' : 'failed';
      reject(new CliError(code, `Cannot listen on ${host}:${port}: ${error.message}.`, { cause: error, hint }));
    });
    server.listen(port, host, resolve);
  });
}

/** How those that are let in reach it. */
async function urlOf(server: Server, host: string, peers: Peers): Promise<string> {
  const { port } = server.address() as AddressInfo;
  const isAny = host === '::' || host === '0.0.0.0';
  const [first] = peers.named;
  const address = isAny ? ((first ? await addressTowards(first) : null) ?? LOOPBACK) : host;
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}`;
}

async function announce(o: {
  url: string;
  refs: ReadonlyMap<string, string>;
  peers: Peers;
  options: ServeOptions;
}): Promise<void> {
  const { url, refs, peers, options } = o;
  const until = options.for === undefined ? null : new Date(Date.now() + options.for * 1000);
  if (options.json) {
    return printJsonLine({ type: 'up', url, refs: Object.fromEntries(refs), allow: peers.named, until });
  }
  const others = peers.named.filter((address) => !isLoopback(address));
  const whom = ['this machine', ...others].join(', ');
  const end = until ? ` until ${nearTime(until.getTime(), Date.now())}` : '';
  printText(`${paint(['bold', 'green'], 'Serving')} to ${oneLine(whom)}${end}; Ctrl-C ends it.`);
  for (const [ref, commit] of refs) printText(`  ${oneLine(ref)}  ${shortId(commit)}`);
  const [ref = ''] = refs.keys();
  const [device = 'ID'] = options.device ?? [];
  printText(`\nA device takes it when you say:`);
  printText(`  treeline device point ${device} --at ${url} --ref ${oneLine(ref)}`);
  printText(`Stock ostree pulls it:`);
  printText(`  ostree remote add --no-gpg-verify mine ${url}`);
  printText(`  ostree pull mine ${oneLine(ref)}`);
  if (others.length === 0) {
    printText(paint('dim', '\nOnly this machine can ask. Let others in: --allow ADDRESS, or --device ID.'));
  }
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

function tellPeer(address: string, allowed: boolean, json: boolean): void {
  if (json) {
    printJsonLine({ type: allowed ? 'peer' : 'refused', address });
    return;
  }
  const time = paint('dim', clockTime(Date.now()));
  printText(
    allowed
      ? `${time}  ${address} fetches`
      : `${time}  ${paint('yellow', `${address} was refused`)} (--allow ${address})`,
  );
}
