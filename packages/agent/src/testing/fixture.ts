import { execFile } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { openRepo, transferSize } from '@treeline/ostree';
import { enrol } from '../board/enrol.ts';
import type { Sysroot } from '../board/identity.ts';

const run = promisify(execFile);
const CHANNEL = 'robot/edge';
const REFS = '/ostree/refs/heads/';
const MEMORY = '/dev/shm';

/**
 * A gateway as the protocol describes it, in as few lines as a test needs, with real mutual TLS (certificates by
 * openssl) and real repositories (by ostree). The agent may not import the server, and is tested against the
 * protocol, not against its only implementation.
 */
export interface Fixture {
  dir: string;
  url: string;
  token: string;
  /** What the gateway was told, newest last. */
  states: Record<string, unknown>[];
  events: Record<string, unknown>[];
  inventory: unknown[];
  /** Bytes of bodies sent from /ostree. */
  sent: { bytes: number; objects: number };
  /** Requests that got through the TLS handshake. */
  requests: number;
  /** Last value of the check-in header. */
  running(): string | undefined;
  /** What the channel offers. */
  offer(commit: string | null): void;
  /** As `treeline device point` does: the board is sent to this address for a commit; null: back. */
  point(at: { commit: string; url: string; ref?: string } | null): void;
  /** As an operator does: the channel that devices follow from now on; null: any. */
  follow(channel: string | null): void;
  /** What the server holds to be bad: grows with reports. */
  bad: Set<string>;
  /** Code of the 404 where nothing is offered. */
  absence: string;
  /** Whether it says how much a device would fetch. */
  tellsSizes: boolean;
  /** Lets every request fail until it is set back. */
  broken: boolean;
  /** Called before an object is sent; may throw to cut the connection. */
  onObject: ((path: string) => void) | null;
  /** Commits a root file system: programs for checks, the given files, and a kernel's place. */
  release(files: Record<string, string>, branch?: string): Promise<string>;
  newBoard(deployer?: (board: string) => Sysroot): Promise<string>;
  close(): Promise<void>;
}

/**
 * @param o.memory keep the files in memory where there is such a place: a test that makes hundreds of boards waits for
 *   nothing but the disk otherwise, and cutting off a program shows the order of its steps as well in memory
 */
export async function createFixture(o: { memory?: boolean } = {}): Promise<Fixture> {
  const memory = o.memory === true && existsSync(MEMORY);
  const dir = await mkdtemp(join(memory ? MEMORY : tmpdir(), 'treeline-agent-'));
  const pki = await makePki(dir);
  const repo = join(dir, 'repo');
  await run('ostree', ['init', `--repo=${repo}`, '--mode=archive']);
  const state = {
    offered: null as string | null,
    pointed: null as { commit: string; url: string; ref?: string } | null,
    running: undefined as string | undefined,
    boards: 0,
    releases: 0,
  };
  const channel = { followed: CHANNEL as string | null };

  const fixture: Fixture = {
    dir,
    url: '',
    token: `secret-of-the-token.${pki.pin}`,
    states: [],
    events: [],
    inventory: [],
    sent: { bytes: 0, objects: 0 },
    requests: 0,
    running: () => state.running,
    offer: (commit) => {
      state.offered = commit;
    },
    point: (at) => {
      state.pointed = at;
    },
    follow: (followed) => {
      channel.followed = followed;
    },
    bad: new Set(),
    absence: 'not-found',
    tellsSizes: false,
    broken: false,
    onObject: null,
    async release(files, branch = CHANNEL) {
      state.releases += 1;
      const tree = join(dir, `tree-${state.releases}`);
      await makeTree(tree, files);
      const owner = ['--owner-uid=0', '--owner-gid=0'];
      const { stdout } = await run('ostree', [
        'commit',
        `--repo=${repo}`,
        '-b',
        branch,
        `--tree=dir=${tree}`,
        ...owner,
      ]);
      await rm(tree, { recursive: true, force: true });
      return stdout.trim();
    },
    async newBoard(deployer) {
      state.boards += 1;
      const board = join(dir, `board-${state.boards}`);
      const more = deployer === undefined ? {} : { deployer: deployer(board) };
      await enrol({ board, gateway: fixture.url, token: fixture.token, id: `robot-${state.boards}`, ...more });
      return board;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      // libostree marks deployments immutable where the file system can.
      await run('chattr', ['-R', '-i', dir]).catch(() => {});
      await rm(dir, { recursive: true, force: true });
    },
  };

  const answer = async (req: IncomingMessage, res: ServerResponse) => {
    const path = req.url ?? '/';
    fixture.requests += 1;
    const body = await readAll(req);
    if (fixture.broken) return void res.writeHead(503).end();
    if (path === '/enroll') {
      const { token, id, csr } = JSON.parse(body) as { token: string; id: string; csr: string };
      if (token !== fixture.token) {
        return void res
          .writeHead(401)
          .end(JSON.stringify({ error: { code: 'token-invalid', message: 'no such token' } }));
      }
      const certificate = await issue(pki, { id, csr });
      return void res.end(JSON.stringify({ certificate, ca: pki.caPem, channel: CHANNEL, repository: 'public' }));
    }
    const peer = (req.socket as import('node:tls').TLSSocket).getPeerX509Certificate();
    if (peer === undefined || !peer.verify(pki.ca.publicKey)) return void res.writeHead(401).end('{}');
    const running = req.headers['x-ats-ostreehash'];
    if (typeof running === 'string') state.running = running;
    const refuse = (code: string) => void res.writeHead(404).end(JSON.stringify({ error: { code, message: code } }));
    if (path.startsWith(REFS)) {
      if (channel.followed !== null && path !== `${REFS}${channel.followed}`) return refuse('other-channel');
      const { pointed } = state;
      if (pointed !== null && req.headers['x-treeline-can'] === 'point') {
        res.setHeader('x-treeline-at', pointed.url);
        if (pointed.ref !== undefined) res.setHeader('x-treeline-ref', pointed.ref);
        return void res.end(`${pointed.commit}\n`);
      }
      return void (state.offered === null ? refuse(fixture.absence) : res.end(`${state.offered}\n`));
    }
    if (path.startsWith('/device/download')) {
      if (!fixture.tellsSizes) return refuse('not-found');
      const query = new URL(path, fixture.url).searchParams;
      const size = await transferSize(await openRepo(repo), query.get('commit') ?? '', query.getAll('have'));
      return void res.end(JSON.stringify(size));
    }
    if (path === '/device' && req.method === 'GET') {
      const registered = { channel: channel.followed, repository: 'public', badReleases: [...fixture.bad] };
      return void res.end(JSON.stringify(registered));
    }
    if (path.startsWith('/ostree/')) {
      fixture.onObject?.(path);
      return sendFile(join(repo, path.slice('/ostree/'.length)), res, fixture.sent);
    }
    if (path === '/events') fixture.events.push(...(JSON.parse(body) as Record<string, unknown>[]));
    else if (path === '/device/state') {
      const report = JSON.parse(body) as Record<string, unknown>;
      fixture.states.push(report);
      if (report.state === 'failed') fixture.bad.add(String(report.release));
      if (report.state === 'rolled-back') fixture.bad.add(String(report.from));
    } else if (path === '/system_info') fixture.inventory.push(JSON.parse(body));
    res.writeHead(204).end();
  };
  const server: Server = createServer(
    { key: pki.serverKey, cert: pki.serverCert, ca: pki.caPem, requestCert: true, rejectUnauthorized: false },
    (req, res) => {
      answer(req, res).catch(() => res.destroy());
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  fixture.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return fixture;
}

interface Pki {
  dir: string;
  ca: X509Certificate;
  caPem: string;
  pin: string;
  serverKey: string;
  serverCert: string;
}

async function makePki(dir: string): Promise<Pki> {
  const file = (name: string) => join(dir, name);
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await run('openssl', [
    'req',
    '-x509',
    ...ec,
    '-keyout',
    file('ca.key'),
    '-out',
    file('ca.crt'),
    '-subj',
    '/CN=ca',
    '-days',
    '2',
  ]);
  await run('openssl', [
    'req',
    ...ec,
    '-keyout',
    file('server.key'),
    '-out',
    file('server.csr'),
    '-subj',
    '/CN=server',
  ]);
  await writeFile(file('server.ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n');
  const signer = ['-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-days', '2'];
  await run('openssl', [
    ...['x509', '-req', '-in', file('server.csr'), ...signer, '-set_serial', '1'],
    ...['-extfile', file('server.ext'), '-out', file('server.crt')],
  ]);
  const caPem = await readFile(file('ca.crt'), 'utf8');
  const ca = new X509Certificate(caPem);
  return {
    dir,
    ca,
    caPem,
    pin: createHash('sha256').update(ca.raw).digest('hex'),
    serverKey: await readFile(file('server.key'), 'utf8'),
    serverCert: (await readFile(file('server.crt'), 'utf8')) + caPem,
  };
}

/** openssl checks the request's signature: what it accepts is a real PKCS #10 request. */
async function issue(pki: Pki, o: { id: string; csr: string }): Promise<string> {
  const csr = join(pki.dir, `${o.id}.csr`);
  const ext = join(pki.dir, 'client.ext');
  await writeFile(csr, o.csr);
  await writeFile(ext, 'extendedKeyUsage=clientAuth\n');
  await run('openssl', ['req', '-in', csr, '-verify', '-noout']);
  const { stdout } = await run('openssl', [
    ...['x509', '-req', '-in', csr, '-CA', join(pki.dir, 'ca.crt'), '-CAkey', join(pki.dir, 'ca.key')],
    ...['-days', '2', '-set_serial', `${Date.now()}`, '-extfile', ext],
  ]);
  return stdout;
}

/** What a check needs to run: a shell, a few programs, and the libraries that they load. */
const PROGRAMS = [
  '/bin/dash',
  '/bin/cat',
  '/bin/sleep',
  '/lib64/ld-linux-x86-64.so.2',
  '/lib/x86_64-linux-gnu/libc.so.6',
];

async function makeTree(tree: string, files: Record<string, string>): Promise<void> {
  for (const program of PROGRAMS) {
    const to = join(tree, 'usr', program);
    await mkdir(dirname(to), { recursive: true });
    await cp(program, to, { dereference: true });
    await chmod(to, 0o755);
  }
  await symlink('dash', join(tree, 'usr/bin/sh'));
  for (const name of ['bin', 'lib', 'lib64']) await symlink(`usr/${name}`, join(tree, name));
  const common = {
    'usr/lib/os-release': 'ID=robot\nPRETTY_NAME="Robot"\n',
    'usr/lib/modules/6.1/vmlinuz': 'kernel',
    'usr/lib/modules/6.1/initramfs.img': 'initramfs',
    'usr/etc/hostname': 'robot\n',
    'usr/share/filler': 'x'.repeat(300_000),
  };
  for (const [path, text] of Object.entries({ ...common, ...files })) {
    await mkdir(dirname(join(tree, path)), { recursive: true });
    await writeFile(join(tree, path), text, { mode: text.startsWith('#!') ? 0o755 : 0o644 });
  }
}

async function sendFile(path: string, res: ServerResponse, sent: Fixture['sent']): Promise<void> {
  const stats = await stat(path).catch(() => null);
  if (stats === null || !stats.isFile()) return void res.writeHead(404).end('{}');
  sent.bytes += stats.size;
  sent.objects += 1;
  res.writeHead(200, { 'content-length': stats.size });
  createReadStream(path).pipe(res);
}

async function readAll(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
