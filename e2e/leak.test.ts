// With restricted commits in the store, whoever has no rights walks every URL that he can derive, names of all objects
// included, and gets what is published to him and nothing else. What was tampered with on its way never becomes visible.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createRepo, push, type Repo, withTransaction, writeCommit, writeFolder } from '@treeline/ostree';
import { scratchFolder } from './testing/scratch.ts';
import { TreelineServer, treeline } from './testing/treeline-server.ts';

const cleanUp: (() => unknown)[] = [];
let folder: string;
let server: TreelineServer;
let developer: Repo;
let commits: { open: string; secret: string; inside: string };
/** Tokens of people who may do something, but read nothing restricted. */
let tokens: { customer: string; pusher: string };

before(async () => {
  folder = scratchFolder({ after: (work: () => unknown) => void cleanUp.push(work) });
  server = new TreelineServer(join(folder, 'data'));
  cleanUp.push(() => server.kill());
  await server.start();
  developer = await createRepo(join(folder, 'developer'), { mode: 'archive' });
  const open = await commitOf('open', { 'usr/share/readme': 'for everybody\n', 'usr/share/common': 'in both\n' });
  const secret = await commitOf('secret', { 'blob.bin': 'the vendor’s\n', common: 'in both\n' });
  // The same tree inside of another, and nothing that says so but its checksum.
  const inside = await commitOf('inside', {
    'usr/share/app': 'ours\n',
    'usr/lib/vendor/blob.bin': 'the vendor’s\n',
    'usr/lib/vendor/common': 'in both\n',
  });
  commits = { open, secret, inside };
  await server.post('/labels', { commit: secret, label: 'restricted:nda', reason: 'contract 12' });
  await server.post('/publish', { commit: open, channel: 'robot/edge' });
  await server.post('/repositories', { name: 'vendor', settings: { admits: ['restricted'] } });
  await server.post('/publish', { commit: secret, repository: 'vendor', channel: 'drivers' });
  const token = async (body: object) => (await server.post<{ token: string }>('/tokens', body)).token;
  tokens = {
    customer: await token({ name: 'customer', allow: ['read'], on: ['public'] }),
    pusher: await token({ name: 'pusher', allow: ['push'], on: ['dev/**'] }),
  };
});

after(async () => {
  for (const work of cleanUp.reverse()) await work();
});

async function commitOf(name: string, files: Record<string, string>): Promise<string> {
  const tree = join(folder, name);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(tree, path, '..'), { recursive: true });
    writeFileSync(join(tree, path), text);
  }
  const commit = await withTransaction(developer, async (tx) =>
    writeCommit(tx, { tree: await writeFolder(tx, tree), subject: name }),
  );
  const headers = { authorization: `Bearer ${server.token}` };
  await push(developer, `${server.url}/api/v1/push/`, { ref: `dev/${name}`, rev: commit, headers });
  return commit;
}

interface Got {
  status: number;
  body: Buffer;
}

/** Asks for a path exactly as it is written. */
function get(path: string, authorization?: string, o: { method?: string; body?: Buffer } = {}): Promise<Got> {
  const { hostname, port } = new URL(server.url);
  const headers = authorization === undefined ? {} : { authorization };
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, headers, method: o.method ?? 'GET' }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('end', () => resolve({ status: res.statusCode!, body: Buffer.concat(chunks) }));
    });
    sent.on('error', reject).end(o.body);
  });
}

/** Object files of a repository, as paths below `objects`. */
function objectsOf(repo: string): string[] {
  const list = readdirSync(join(server.data, repo, 'objects'), { recursive: true, encoding: 'utf8' });
  return list.filter((path) => /^[0-9a-f]{2}\/[0-9a-f]{62}\./.test(path));
}

const PLACES = [
  '/repos/public/objects/',
  '/repos/vendor/objects/',
  '/repos/store/objects/',
  '/repos/../store/objects/',
  '/repos/public/../../store/objects/',
  '/repos/public/%2e%2e/%2e%2e/store/objects/',
  '/repos/public//objects/',
  '/repos/public/objects/../../vendor/objects/',
  '/repos//vendor/objects/',
  '/repos/%76endor/objects/',
  '/repos/./vendor/objects/',
  '/repos/vendor/./objects/',
  '/store/objects/',
  '/api/v1/store/objects/',
  '/api/v1/push/objects/',
  '/treehub/objects/',
  '/treehub/api/v3/objects/',
  '/objects/',
];

test('by no path and with no token that lacks the right does anybody get an object that is not published to him', async (t) => {
  const everything = [...new Set([...objectsOf('store'), ...objectsOf('repos/vendor')])];
  const published = new Set(objectsOf('repos/public'));
  const hidden = everything.filter((path) => !published.has(path));
  assert.ok(hidden.length >= 8 && published.size >= 5, `${hidden.length} hidden, ${published.size} published`);
  const contents = new Set(
    hidden.map((path) => {
      const where = ['store', 'repos/vendor'].map((repo) => join(server.data, repo, 'objects', path));
      return digest(readFileSync(where.find((file) => existsIn(file))!));
    }),
  );
  const people = [
    undefined,
    `Bearer ${tokens.customer}`,
    basic(tokens.customer),
    `Bearer ${tokens.pusher}`,
    'Bearer x',
  ];
  let asked = 0;
  for (const authorization of people) {
    for (const place of PLACES) {
      for (const path of hidden) {
        const { status, body } = await get(place + path, authorization);
        asked++;
        assert.ok(status >= 400 && status < 500, `${place}${path} as ${authorization}: ${status}`);
        assert.ok(!contents.has(digest(body)), `${place}${path}`);
      }
    }
  }
  // The same walk finds what it may: it is no walk of places that do not work.
  for (const path of published) assert.equal((await get(`/repos/public/objects/${path}`)).status, 200);
  const admin = `Bearer ${server.token}`;
  for (const path of objectsOf('repos/vendor')) {
    assert.equal((await get(`/repos/vendor/objects/${path}`, admin)).status, 200);
  }
  t.diagnostic(`${asked} requests for ${hidden.length} hidden objects`);
});

test('neither is there any other file of a repository, nor of the data folder', async () => {
  const names = [
    'summary',
    'summary.sig',
    'config',
    'refs/heads/drivers',
    'refs/heads/dev/secret',
    '.lock',
    'tmp/',
    '',
  ];
  for (const authorization of [undefined, `Bearer ${tokens.customer}`, `Bearer ${tokens.pusher}`]) {
    for (const repo of ['vendor', 'store', '../store', 'nothing']) {
      const answers = await Promise.all(names.map((name) => get(`/repos/${repo}/${name}`, authorization)));
      for (const { status } of answers) assert.ok(status >= 400 && status < 500);
      // What there is not looks like what one may not read.
      assert.deepEqual(new Set(answers.map(({ status }) => status)).size <= 2, true);
    }
    for (const file of ['admin-token', 'treeline.db', 'server.json', 'ca/ca.key', 'keys/x']) {
      for (const way of [
        `/repos/../${file}`,
        `/repos/public/../../${file}`,
        `/repos/public/%2e%2e/%2e%2e/${file}`,
        `/${file}`,
      ]) {
        const { status } = await get(way, authorization);
        assert.ok(status >= 400 && status < 500, `${way}: ${status}`);
      }
    }
    const summary = await get('/repos/public/summary', authorization);
    assert.ok(!summary.body.includes('drivers') && !summary.body.includes(Buffer.from(commits.secret, 'hex')));
  }
});

test('a published folder holds what its own refs need, and no other object', () => {
  const reachable = new Set(
    execFileSync('ostree', ['ls', '-R', '-C', `--repo=${join(server.data, 'repos/public')}`, 'robot/edge'], {
      encoding: 'utf8',
    }).match(/[0-9a-f]{64}/g),
  );
  for (const path of objectsOf('repos/public')) {
    const checksum = path.slice(0, 2) + path.slice(3, 65);
    assert.ok(path.endsWith('.commit') ? checksum === commits.open : reachable.has(checksum), path);
  }
});

test('a restricted tree is refused by its label, also inside of a commit that somebody pushed', async () => {
  const publish = (commit: string) => treeline(['publish', commit, '--to', 'robot/edge', '--data', server.data]);
  for (const commit of [commits.secret, commits.inside]) {
    const { status, output } = await publish(commit);
    assert.notEqual(status, 0);
    assert.match(output, /restricted:nda/);
  }
  assert.match((await publish(commits.inside)).output, /usr\/lib\/vendor/);
  const heads = execFileSync('ostree', ['refs', '--list', `--repo=${join(server.data, 'repos/public')}`], {
    encoding: 'utf8',
  });
  assert.equal(heads.trim(), 'robot/edge');
});

test('who may push and not read cannot make what he knows the checksum of his own', async () => {
  const headers = { authorization: `Bearer ${tokens.pusher}` };
  await assert.rejects(
    push(developer, `${server.url}/api/v1/push/`, { ref: 'dev/mine', rev: commits.secret, headers, retries: 0 }),
    /may not read/,
  );
});

test('objects that were tampered with are refused on every way in, and never become visible', async () => {
  const admin = `Bearer ${server.token}`;
  const [file] = readdirSync(join(developer.path, 'objects'), { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.filez'),
  );
  const bytes = readFileSync(join(developer.path, 'objects', file!));
  const before = objectsOf('store').length;
  const other = createHash('sha256').update('nothing').digest('hex');
  for (const name of [
    `${other.slice(0, 2)}/${other.slice(2)}.filez`,
    `${other.slice(0, 2)}/${other.slice(2)}.dirtree`,
  ]) {
    const sent = await get(`/treehub/objects/${name}`, admin, { method: 'POST', body: bytes });
    assert.ok(sent.status >= 400 && sent.status < 500, `${name}: ${sent.status}`);
    assert.equal((await get(`/treehub/objects/${name}`, admin, { method: 'HEAD' })).status, 404);
  }
  assert.equal(objectsOf('store').length, before);
  execFileSync('ostree', ['fsck', '--quiet', `--repo=${join(server.data, 'store')}`], { stdio: 'pipe' });
});

function basic(token: string): string {
  return `Basic ${Buffer.from(`anybody:${token}`).toString('base64')}`;
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function existsIn(file: string): boolean {
  try {
    readFileSync(file);
    return true;
  } catch {
    return false;
  }
}
