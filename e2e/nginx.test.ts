// The configurations that `treeline nginx` prints, in a real nginx, with the stock client: in front of a server, as a
// caching mirror, and as a mirror of a mirror.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  deltaFolder,
  gpgSigner,
  openRepo,
  type Repo,
  resolveRev,
  serveRepository,
  setRef,
  updateSummary,
} from '@treeline/ostree';
import { type Nginx, startNginx } from './testing/nginx.ts';
import { machineClient } from './testing/ostree-client.ts';
import { scratchFolder } from './testing/scratch.ts';
import { TreelineServer, treeline } from './testing/treeline-server.ts';

const MEGABYTE = 1024 * 1024;
const client = machineClient();

interface Got {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

/** Asks for a path exactly as it is written. */
function get(base: string, path: string, o: { headers?: Record<string, string>; method?: string } = {}): Promise<Got> {
  const { hostname, port } = new URL(base);
  const { headers = {}, method = 'GET' } = o;
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, headers, method }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('end', () => resolve({ status: res.statusCode!, headers: res.headers, body: Buffer.concat(chunks) }));
    });
    sent.on('error', reject).end();
  });
}

/** A GnuPG home folder with one key. */
function makeKey(home: string, publicFile: string): string {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const gpg = (...args: string[]) => execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', ...args]);
  gpg('--passphrase', '', '--quick-generate-key', 'release@example.org', 'ed25519', 'sign', 'never');
  writeFileSync(publicFile, gpg('--export'));
  const listed = gpg('--with-colons', '--list-keys').toString();
  return /^fpr:+([0-9A-F]{40}):/m.exec(listed)![1]!;
}

/** What is published: two commits of `robot/edge` with a delta between them, and a large file. */
interface Published {
  repo: Repo;
  first: string;
  second: string;
  /** Path of the delta, with a plus in it. */
  delta: string;
}

function publishWithOstree(path: string, work: string): Promise<Published> {
  const ostree = (...args: string[]) =>
    execFileSync('ostree', [`--repo=${path}`, ...args], { encoding: 'utf8', stdio: 'pipe' }).trim();
  const tree = join(work, 'tree');
  mkdirSync(join(tree, 'usr'), { recursive: true });
  const noise = Buffer.alloc(11 * MEGABYTE);
  for (let at = 0, state = 7; at < noise.length; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    noise.writeUInt32LE((state ^ (state >>> 13)) >>> 0, at);
  }
  writeFileSync(join(tree, 'usr/model'), noise);
  for (let index = 0; index < 300; index++) writeFileSync(join(tree, `usr/f${index}`), `file ${index}\n`.repeat(index));
  const commit = (...args: string[]) =>
    ostree('commit', '-b', 'robot/edge', `--tree=dir=${tree}`, '--canonical-permissions', ...args);
  const first = commit('-s', 'first');
  // The server would drop what nothing names, and the deltas from it, within a minute.
  ostree('refs', '--create=robot/first', first);
  for (let tries = 0; ; tries++) {
    writeFileSync(join(tree, 'usr/f5'), `changed ${tries}\n`);
    const second = commit('-s', 'second', `--parent=${first}`);
    const delta = deltaFolder(first, second);
    if (!delta.includes('+')) continue;
    ostree('static-delta', 'generate', `--from=${first}`, `--to=${second}`);
    return openRepo(path).then((repo) => ({ repo, first, second, delta }));
  }
}

let clients = 0;

/** A new client repository that knows a remote. */
async function newClient(folder: string, url: string, o: { mode?: string; keys?: string; flags?: string[] } = {}) {
  clients++;
  const path = join(folder, `client-${clients}`);
  const ostree = async (...args: string[]): Promise<string> => {
    const { status, output } = await client.ostree(folder, `--repo=${path}`, ...args);
    assert.equal(status, 0, `${args.join(' ')}: ${output}`);
    return output.trim();
  };
  await ostree('init', `--mode=${o.mode ?? 'archive'}`);
  const verify = o.keys
    ? ['--set=gpg-verify=false', '--set=gpg-verify-summary=true', `--gpg-import=${o.keys}`]
    : ['--no-gpg-verify'];
  await ostree('remote', 'add', ...verify, 'origin', url);
  return { path, ostree };
}

/** By ref with a signed summary, by checksum, and with the delta. */
async function pullEachWay(
  folder: string,
  url: string,
  published: Published,
  o: { keys?: string; flags?: string[] } = {},
) {
  const { first, second } = published;
  const flags = o.flags ?? [];
  const byRef = await newClient(folder, url, o);
  await byRef.ostree('pull', ...flags, 'origin', 'robot/edge');
  assert.equal(await byRef.ostree('rev-parse', 'origin:robot/edge'), second);
  await byRef.ostree('fsck');
  const bySum = await newClient(folder, url, { mode: 'bare-user', ...o });
  await bySum.ostree('pull', ...flags, 'origin', first);
  await bySum.ostree('pull', '--require-static-deltas', ...flags, 'origin', second);
  await bySum.ostree('fsck');
}

/** Looks at the summary in loops while it changes all the time; each look must succeed. */
async function lookWhileItChanges(t: TestContext, folder: string, url: string, change: () => Promise<void>) {
  clients++;
  const stop = join(folder, `stop-${clients}`);
  const loops = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const { path } = await newClient(folder, url, { keys: join(folder, 'key.gpg') });
      // Whatever the machine's speed, some looks fall into the time of the changes.
      const script = `n=0; while [ ! -e ${stop} ] || [ $n -lt 10 ]; do ostree --repo=${path} remote refs origin >/dev/null || exit 1; n=$((n+1)); done; echo $n`;
      const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'pipe'] });
      const said: string[] = [];
      child.stdout.on('data', (data: Buffer) => said.push(data.toString()));
      child.stderr.on('data', (data: Buffer) => said.push(data.toString()));
      return once(child, 'close').then(([code]) => ({ code: code as number, text: said.join('') }));
    }).map(async (started) => ({ ended: started })),
  );
  let going = true;
  const all = Promise.all(loops.map(({ ended }) => ended)).finally(() => {
    going = false;
  });
  const until = Date.now() + 4000;
  let changes = 0;
  for (; going; changes++) {
    await change();
    if (Date.now() > until && changes >= 10) writeFileSync(stop, '');
  }
  let looks = 0;
  for (const { code, text } of await all) {
    assert.equal(code, 0, text);
    looks += Number(text);
  }
  t.diagnostic(`${looks} looks at ${changes} summaries`);
  assert.ok(looks > 20 && changes > 5, `${looks} looks, ${changes} changes`);
}

describe('nginx in front of a server', () => {
  const cleanUp: (() => unknown)[] = [];
  let folder: string;
  let server: TreelineServer;
  let nginx: Nginx;
  let published: Published;
  let secret: Published;
  let keys: string;
  let signer: ReturnType<typeof gpgSigner>;
  let customer: string;

  before(async () => {
    folder = scratchFolder({ after: (work: () => unknown) => void cleanUp.push(work) });
    server = new TreelineServer(join(folder, 'data'));
    cleanUp.push(() => server.kill());
    await server.start();
    const home = join(folder, 'gpg');
    keys = join(folder, 'key.gpg');
    signer = gpgSigner({ keyId: makeKey(home, keys), homedir: home });
    cleanUp.push(() => execFileSync('gpgconf', ['--homedir', home, '--kill', 'all']));
    published = await publishWithOstree(join(folder, 'data/repos/public'), join(folder, 'work'));
    await updateSummary(published.repo, { signers: [signer] });
    await server.post('/repositories', { name: 'acme' });
    secret = await publishWithOstree(join(folder, 'data/repos/acme'), join(folder, 'secret'));
    await updateSummary(secret.repo);
    customer = (await server.post<{ token: string }>('/tokens', { name: 'customer', allow: ['read'], on: ['acme'] }))
      .token;
    const args = ['nginx', 'front', '--data', server.data, '--listen', '127.0.0.1:1', '--state', join(folder, 'state')];
    const { status, output } = await treeline(args);
    assert.equal(status, 0, output);
    nginx = await startNginx(join(folder, 'nginx'), output.replace('127.0.0.1:1;', '127.0.0.1:PORT;'));
    cleanUp.push(() => nginx.stop());
  });
  after(async () => {
    for (const work of cleanUp.reverse()) await work();
  });

  test('the stock client pulls by ref, by checksum, with a delta, and signed', async () => {
    await pullEachWay(folder, `${nginx.url}/repos/public`, published, { keys });
  });

  test('nginx sends objects and deltas from the folder, to be kept for ever, with a plus in either spelling', async () => {
    const object = `/repos/public/objects/${published.second.slice(0, 2)}/${published.second.slice(2)}.commit`;
    const path = `/repos/public/${published.delta}/superblock`;
    for (const asked of [object, path, path.replaceAll('+', '%2B'), path.replaceAll('+', '%2b')]) {
      const { status, headers, body } = await get(nginx.url, asked);
      assert.equal(status, 200, asked);
      assert.equal(headers['cache-control'], 'public, max-age=31536000, immutable');
      assert.match(String(headers.etag), /^"[0-9a-f]+-[0-9a-f]+"$/, "nginx's own ETag: Treeline was not asked");
      assert.ok(body.equals(readFileSync(join(folder, 'data', decodeURIComponent(asked)))));
      assert.equal((await get(nginx.url, asked, { headers: { 'if-none-match': String(headers.etag) } })).status, 304);
      const part = await get(nginx.url, asked, { headers: { range: 'bytes=3-9' } });
      assert.ok(part.status === 206 && part.body.equals(body.subarray(3, 10)));
      assert.equal((await get(nginx.url, asked, { method: 'HEAD' })).headers['content-length'], String(body.length));
      assert.equal((await get(nginx.url, asked, { method: 'POST' })).status, 405);
    }
  });

  test('what may change is asked for again, and what is missing is said to be, and remembered by nobody', async () => {
    for (const path of ['summary', 'summary.sig', 'config', 'refs/heads/robot/edge']) {
      const { status, headers } = await get(nginx.url, `/repos/public/${path}`);
      assert.deepEqual([status, headers['cache-control']], [200, 'no-cache'], path);
      const again = await get(nginx.url, `/repos/public/${path}`, {
        headers: { 'if-none-match': String(headers.etag) },
      });
      assert.equal(again.status, 304);
    }
    const missing = `/repos/public/objects/00/${'0'.repeat(62)}`;
    for (const path of [`${missing}.filez`, `${missing}.commitmeta`, '/repos/public/refs/heads/none']) {
      const { status, headers } = await get(nginx.url, path);
      assert.deepEqual([status, headers['cache-control']], [404, 'no-store'], path);
      assert.match(String(headers['content-type']), /^text\/plain/);
    }
    assert.equal((await get(nginx.url, '/repos/none/config')).status, 401);
    const admin = { authorization: `Bearer ${server.token}` };
    assert.equal((await get(nginx.url, '/repos/none/config', { headers: admin })).status, 404);
    assert.equal((await get(nginx.url, `${missing.replace('public', 'none')}.filez`, { headers: admin })).status, 404);
    for (const path of [
      '/repos/public/tmp/x',
      '/repos/public/.lock',
      '/repos/public/objects/../../acme/config',
      '/repos/',
    ]) {
      assert.ok([400, 401, 404].includes((await get(nginx.url, path)).status), path);
    }
  });

  test('a private repository is for whoever may read it, each of its files, and for no shared cache', async () => {
    const url = `${nginx.url}/repos/acme`;
    const flags = [`--http-header=Authorization=Bearer ${customer}`];
    await pullEachWay(folder, url, secret, { flags });
    await pullEachWay(folder, url.replace('http://', `http://x:${customer}@`), secret);
    const objects = readdirSync(join(secret.repo.path, 'objects'), { recursive: true, encoding: 'utf8' });
    const files = objects.filter((name) => name.includes('.')).map((name) => `objects/${name}`);
    assert.ok(files.length > 300);
    const all = [
      ...files,
      `${secret.delta}/superblock`,
      `${secret.delta}/0`,
      'config',
      'summary',
      'refs/heads/robot/edge',
    ];
    for (const file of all) assert.equal((await get(nginx.url, `/repos/acme/${file}`)).status, 401, file);
    const headers = { authorization: `Bearer ${customer}` };
    const object = `/repos/acme/${files.find((name) => name.endsWith('.filez'))!}`;
    assert.equal(
      (await get(nginx.url, object, { headers })).headers['cache-control'],
      'private, max-age=31536000, immutable',
    );
    // Right after somebody who may: nothing is remembered for somebody who may not.
    const refused = await get(nginx.url, object);
    assert.deepEqual([refused.status, /Basic/.test(String(refused.headers['www-authenticate']))], [401, true]);
    assert.equal((await get(nginx.url, object, { headers: { authorization: 'Bearer tl_wrong' } })).status, 401);
    assert.equal((await get(nginx.url, '/_treeline/access')).status, 404);
    assert.equal((await get(nginx.url, '/_treeline/folder/acme/config')).status, 404);
  });

  test('a repository that becomes private is so within seconds', async () => {
    await server.post('/repositories', { name: 'fading', settings: { access: 'public' } });
    assert.equal((await get(nginx.url, '/repos/fading/config')).status, 200);
    await server.patch('/repositories/fading', { access: 'private' });
    const began = Date.now();
    while ((await get(nginx.url, '/repos/fading/config')).status !== 401) {
      assert.ok(Date.now() - began < 15_000);
      await sleep(250);
    }
  });

  test('the API passes through: events as they happen, and pushes of any size', async () => {
    const { hostname, port } = new URL(nginx.url);
    const headers = { authorization: `Bearer ${server.token}` };
    const sent = request({ hostname, port, path: '/api/v1/events', headers });
    sent.end();
    const [stream] = (await once(sent, 'response')) as [NodeJS.ReadableStream & { statusCode: number }];
    assert.equal(stream.statusCode, 200);
    let text = '';
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    await server.post('/repositories', { name: 'seen' });
    for (let tries = 0; !text.includes('"seen"'); tries++) {
      assert.ok(tries < 600, 'an event comes when it happens');
      await sleep(50);
    }
    sent.destroy();
    const args = ['push', nginx.url, 'robot/edge', '--repo', published.repo.path, '--as', 'pushed/edge'];
    const { status, output } = await treeline([...args, '--token', server.token]);
    assert.equal(status, 0, output);
    const store = await openRepo(join(server.data, 'store'));
    assert.equal(await resolveRev(store, 'pushed/edge'), published.second);
  });

  test('no client gets a summary with the signature of another, though GPG knows no way to accept one', async (t) => {
    let version = 0;
    await lookWhileItChanges(t, folder, `${nginx.url}/repos/public`, async () => {
      version++;
      await setRef(published.repo, `versions/${version}`, published.first);
      await updateSummary(published.repo, { signers: [signer] });
    });
  });

  test('while the server is restarted clients go on pulling what is public', async () => {
    await get(nginx.url, '/repos/public/config');
    await server.kill();
    try {
      await pullEachWay(folder, `${nginx.url}/repos/public`, published, { keys });
      assert.ok((await get(nginx.url, '/repos/acme/config')).status >= 500);
    } finally {
      await server.start();
    }
  });
});

describe('a caching mirror', () => {
  const cleanUp: (() => unknown)[] = [];
  let folder: string;
  let published: Published;
  let keys: string;
  let signer: ReturnType<typeof gpgSigner>;
  let origin: Awaited<ReturnType<typeof serveRepository>>;
  /** Of the repository itself, and of that one. */
  let first: Nginx;
  let second: Nginx;

  const cacheOf = async (url: string, name: string): Promise<Nginx> => {
    const place = join(folder, name);
    mkdirSync(place);
    const args = [
      'nginx',
      'cache',
      url,
      '--listen',
      '127.0.0.1:1',
      '--cache',
      join(place, 'cache'),
      '--log',
      join(place, 'log'),
    ];
    const { status, output } = await treeline(args);
    assert.equal(status, 0, output);
    const nginx = await startNginx(place, output.replace('127.0.0.1:1;', '127.0.0.1:PORT;'));
    cleanUp.push(() => nginx.stop());
    return nginx;
  };
  /** Of objects and deltas since the last look: bytes that were sent, and of those that the cache had. */
  const served = async (name: string, from = 0) => {
    const lines = (await settledLog(join(folder, name, 'log'))).trimEnd().split('\n').slice(from);
    let [all, hits] = [0, 0];
    for (const line of lines) {
      const [, status, verdict, bytes, , path] = line.split(' ');
      if (!/^\/(?:objects|deltas)\/.*(?<!commitmeta)$/.test(path!) || !status!.startsWith('2')) continue;
      all += Number(bytes);
      if (verdict === 'HIT') hits += Number(bytes);
    }
    return { all, hits, lines: lines.length + from };
  };

  before(async () => {
    folder = scratchFolder({ after: (work: () => unknown) => void cleanUp.push(work) });
    const home = join(folder, 'gpg');
    keys = join(folder, 'key.gpg');
    signer = gpgSigner({ keyId: makeKey(home, keys), homedir: home });
    cleanUp.push(() => execFileSync('gpgconf', ['--homedir', home, '--kill', 'all']));
    execFileSync('ostree', ['init', `--repo=${join(folder, 'repo')}`, '--mode=archive']);
    published = await publishWithOstree(join(folder, 'repo'), join(folder, 'work'));
    await updateSummary(published.repo, { signers: [signer] });
    origin = await serveRepository(published.repo.path);
    cleanUp.push(() => origin.close());
    first = await cacheOf(origin.url, 'first');
    second = await cacheOf(first.url, 'second');
  });
  after(async () => {
    for (const work of cleanUp.reverse()) await work();
  });

  test('one client warms it, and a mirror of it: the next gets hardly a byte from the origin', async (t) => {
    await pullEachWay(folder, second.url, published, { keys });
    const [before, inner] = [await served('second'), await served('first')];
    assert.ok(before.all > 20 * MEGABYTE);
    await pullEachWay(folder, second.url, published, { keys });
    const { all, hits } = await served('second', before.lines);
    t.diagnostic(`${hits} of ${all} bytes from the cache`);
    assert.ok(all > 20 * MEGABYTE && hits / all >= 0.99, `${hits} of ${all}`);
    assert.equal((await served('first', inner.lines)).all, 0, 'the mirror of the mirror asked for none of it again');
    const third = await cacheOf(first.url, 'third');
    await pullEachWay(folder, third.url, published, { keys });
    const shared = await served('first', inner.lines);
    assert.ok(shared.hits / shared.all >= 0.99, 'another one gets all from the first mirror');
  });

  test('a plus is a plus in either spelling, and parts of a large file are parts of it', async () => {
    const path = `/${published.delta}/superblock`;
    const expected = readFileSync(join(published.repo.path, path));
    for (const asked of [path, path.replaceAll('+', '%2B')]) {
      const { headers, body } = await get(second.url, asked);
      assert.ok(body.equals(expected));
      assert.equal(headers['x-cache-status'], 'HIT');
    }
    const objects = readdirSync(join(published.repo.path, 'objects'), { recursive: true, encoding: 'utf8' });
    const large = objects.find((name) => readSize(join(published.repo.path, 'objects', name)) > 10 * MEGABYTE)!;
    const whole = readFileSync(join(published.repo.path, 'objects', large));
    const got = await get(second.url, `/objects/${large}`);
    assert.ok(got.body.equals(whole));
    assert.match(String(got.headers['cache-control']), /immutable/);
    const range = `bytes=${4 * MEGABYTE - 10}-${4 * MEGABYTE + 9}`;
    const part = await get(second.url, `/objects/${large}`, { headers: { range } });
    assert.ok(part.status === 206 && part.body.equals(whole.subarray(4 * MEGABYTE - 10, 4 * MEGABYTE + 10)));
  });

  test('what changes is seen at once, nothing missing is remembered, and whoever has it is told so', async () => {
    const missing = `/objects/00/${'0'.repeat(62)}.filez`;
    assert.equal((await get(second.url, missing)).status, 404);
    mkdirSync(join(published.repo.path, 'objects/00'), { recursive: true });
    writeFileSync(join(published.repo.path, missing), 'there now');
    assert.equal((await get(second.url, missing)).body.toString(), 'there now');
    const { etag } = (await get(second.url, '/refs/heads/robot/edge')).headers;
    const asked = () => get(second.url, '/refs/heads/robot/edge', { headers: { 'if-none-match': String(etag) } });
    assert.equal((await asked()).status, 304);
    await setRef(published.repo, 'robot/edge', published.first);
    const now = await asked();
    assert.deepEqual([now.status, now.body.toString()], [200, `${published.first}\n`]);
    await setRef(published.repo, 'robot/edge', published.second);
    assert.equal((await get(second.url, '/somewhere/else')).status, 404);
  });

  test('what is private at the origin is kept in no mirror', async () => {
    const secret = await serveRepository(published.repo.path, { private: true });
    cleanUp.push(() => secret.close());
    const mirror = await cacheOf(secret.url, 'of-private');
    const object = `/objects/${published.second.slice(0, 2)}/${published.second.slice(2)}.commit`;
    for (let times = 0; times < 3; times++) {
      assert.equal((await get(mirror.url, object)).headers['x-cache-status'], 'MISS');
    }
  });

  test('no client of it gets a summary with the signature of another', async (t) => {
    let version = 0;
    await lookWhileItChanges(t, folder, second.url, async () => {
      version++;
      await setRef(published.repo, `versions/${version}`, published.first);
      await updateSummary(published.repo, { signers: [signer] });
    });
  });

  test('what it has is good when the origin is down', async () => {
    await origin.close();
    const object = `/objects/${published.second.slice(0, 2)}/${published.second.slice(2)}.commit`;
    assert.equal((await get(second.url, object)).status, 200);
    assert.equal((await get(second.url, '/summary')).status, 502);
  });
});

/** nginx writes a request's line after the client has its answer. */
async function settledLog(path: string): Promise<string> {
  for (let seen = ''; ; ) {
    await sleep(300);
    const text = readFileSync(path, 'utf8');
    if (text === seen) return text;
    seen = text;
  }
}

function readSize(path: string): number {
  try {
    return readFileSync(path).length;
  } catch {
    return 0; // a folder
  }
}
