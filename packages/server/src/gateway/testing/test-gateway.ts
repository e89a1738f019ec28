import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type RequestOptions, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pino from 'pino';
import { createAuditLog } from '../../access/audit.ts';
import { type Authority, openAuthority } from '../../ca/index.ts';
import { openDatabase } from '../../database/open.ts';
import { createPointers, createRegistry, type Pointers, type Registry } from '../../devices/index.ts';
import { ServerError } from '../../errors.ts';
import { createEventLog, type EventLog } from '../../events/log.ts';
import { createGateway, type Gateway } from '../gateway.ts';

export const CHANNEL = 'robot/edge';
const NAMES = ['localhost', '127.0.0.1'];
const run = promisify(execFile);

export interface Credentials {
  cert: string;
  key: string;
}

/** A device as openssl and ostree see it. */
export interface TestDevice extends Credentials {
  id: string;
  files: { cert: string; key: string };
}

export interface Answer {
  status: number;
  text: string;
  /** `error.code` of a refusal. */
  code: string | undefined;
  headers: Record<string, unknown>;
}

export interface CallOptions {
  as?: Credentials;
  body?: unknown;
  raw?: string | Buffer;
  headers?: Record<string, string>;
}

/** A real gateway on a free port, with a database, a CA and a published repository in a temporary folder. */
export interface TestGateway {
  dir: string;
  authority: Authority;
  registry: Registry;
  pointers: Pointers;
  gateway: Gateway;
  events: EventLog;
  /** Commits a tree with the real tool and makes it the channel's release. */
  release(text: string): Promise<string>;
  /** A key and a request as a device makes them, here by openssl. */
  keyOf(name: string): Promise<{ key: string; csr: string; file: string }>;
  newToken(o?: { uses?: number; expiresSeconds?: number }): Promise<string>;
  enrolled(id?: string): Promise<TestDevice>;
  call(method: string, path: string, o?: CallOptions): Promise<Answer>;
  /** An ostree repository whose remote `t` is the gateway, with the device's certificate. */
  addRemote(device: TestDevice): Promise<string>;
  close(): Promise<void>;
}

export async function createTestGateway(): Promise<TestGateway> {
  const dir = await mkdtemp(join(tmpdir(), 'treeline-gateway-'));
  const published = join(dir, 'repos/public');
  const db = await openDatabase(`sqlite:${join(dir, 'treeline.db')}`);
  const events = createEventLog(db);
  const authority = await openAuthority({ dir: join(dir, 'ca'), names: NAMES });
  let head: string | null = null;
  const releases = { current: async () => (head === null ? null : { commit: head }) };
  const audit = createAuditLog(db);
  const registry = createRegistry({ db, events, audit, releases });
  const pointers = createPointers({ db, events, audit });
  const gateway = await createGateway({
    authority,
    registry,
    pointers,
    lab: { find: async () => null, mayEnrol: async () => true },
    differences: { waiting: async () => null, answer: async () => {} },
    storeDir: published,
    log: pino({ level: 'silent' }),
    reposDir: join(dir, 'repos'),
    settings: { gatewayHost: '127.0.0.1', gatewayPort: 0, gatewayNames: NAMES },
  });
  await writeFile(join(dir, 'ca.crt'), authority.certificate);
  await mkdir(published, { recursive: true });
  await run('ostree', ['init', `--repo=${published}`, '--mode=archive']);
  const count = { releases: 0, devices: 0 };

  const test: TestGateway = {
    ...{ dir, authority, registry, pointers, gateway, events },

    async release(text) {
      const tree = join(dir, 'tree');
      await mkdir(join(tree, 'usr/bin'), { recursive: true });
      await writeFile(join(tree, 'usr/bin/a+b'), text);
      const args = ['commit', `--repo=${published}`, '-b', CHANNEL, `--tree=dir=${tree}`];
      const { stdout } = await run('ostree', [...args, '--owner-uid=0', '--owner-gid=0']);
      const commit = stdout.trim();
      const now = Date.now();
      count.releases += 1;
      await db
        .insertInto('releases')
        .values({
          ...{ id: `release-${count.releases}`, number: count.releases, repository: 'public', channel: CHANNEL },
          ...{ commit, contents: commit, meta: commit, previous: head, state: 'published', reason: 'test' },
          ...{ run_id: null, run_number: 0, artifact: null, message: null, created_at: now, published_at: now },
        })
        .execute();
      head = commit;
      return commit;
    },

    async keyOf(name) {
      const file = join(dir, `${name}.key`);
      await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file]);
      const { stdout } = await run('openssl', ['req', '-new', '-key', file, '-subj', '/CN=x']);
      return { key: await readFile(file, 'utf8'), csr: stdout, file };
    },

    async newToken(o = {}) {
      const made = await registry.createToken({ channel: CHANNEL, ...o }, null);
      return `${made.secret}.${authority.fingerprint}`;
    },

    async enrolled(id = `robot-${++count.devices}`) {
      const { key, csr, file } = await test.keyOf(id);
      const answer = await test.call('POST', '/enroll', { body: { token: await test.newToken(), id, csr } });
      if (answer.status !== 200) throw new ServerError('internal', answer.text);
      const { certificate } = JSON.parse(answer.text) as { certificate: string };
      const cert = join(dir, `${id}.crt`);
      await writeFile(cert, certificate);
      return { id, cert: certificate, key, files: { cert, key: file } };
    },

    call: (method, path, o = {}) => {
      const options: RequestOptions = {
        ...{ method, path, host: '127.0.0.1', port: gateway.port, ca: authority.certificate, agent: false },
        ...(o.as === undefined ? {} : { cert: o.as.cert, key: o.as.key }),
        headers: o.headers,
      };
      return send(options, o.raw ?? (o.body === undefined ? undefined : JSON.stringify(o.body)));
    },

    async addRemote(device) {
      const repo = join(dir, `${device.id}-repo`);
      await mkdir(repo, { recursive: true });
      await run('ostree', ['init', `--repo=${repo}`, '--mode=bare-user']);
      await run('ostree', [
        ...['remote', 'add', `--repo=${repo}`, '--no-gpg-verify'],
        `--set=tls-client-cert-path=${device.files.cert}`,
        `--set=tls-client-key-path=${device.files.key}`,
        `--set=tls-ca-path=${join(dir, 'ca.crt')}`,
        ...['t', `${gateway.url}/ostree`],
      ]);
      return repo;
    },

    async close() {
      await gateway.close();
      await db.destroy();
      await rm(dir, { recursive: true, force: true });
    },
  };
  return test;
}

function send(options: RequestOptions, body: string | Buffer | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(options, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      incoming.on('end', () =>
        resolve({ status: incoming.statusCode ?? 0, text, code: codeOf(text), headers: incoming.headers }),
      );
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function codeOf(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { error?: { code?: string } }).error?.code;
  } catch {
    // Not every answer is JSON.
    return undefined;
  }
}
