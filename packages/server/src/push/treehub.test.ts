import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import {
  ed25519Signer,
  openRepo,
  push,
  readCommit,
  readDetachedMetadata,
  readDirTree,
  signCommit,
} from '@treeline/ostree';
import { scratch } from '../testing/scratch.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';

const ostree = (...args: string[]) => execFileSync('ostree', args, { encoding: 'utf8' }).trim();

interface Answered {
  status: number;
  body: string;
  reason?: string;
}

interface PushLike {
  path: string;
  /** `https://…/api/v3/`, as it stands in treehub.json. */
  url: string;
  authorization: string;
  form?: boolean;
  /** Answers of POSTs so far, by status. */
  counts: Map<number, number>;
}

/** Of longer bodies curl waits to be asked for. */
const EXPECT_BYTES = 1024 * 1024;

function send(o: PushLike, method: string, at: string, body?: Buffer, type?: string): Promise<Answered> {
  const headers = {
    authorization: o.authorization,
    'x-ats-ostree-force': 'true',
    ...(type && { 'content-type': type }),
    ...(body && { 'content-length': body.length }),
  };
  const waits = body !== undefined && body.length > EXPECT_BYTES;
  return new Promise((resolve, reject) => {
    const sent = request(
      new URL(at, o.url),
      { method, headers: waits ? { ...headers, expect: '100-continue' } : headers },
      (res) => {
        let text = '';
        res.on('data', (chunk) => {
          text += chunk;
        });
        res.on('end', () => {
          const reason = res.headers['x-treeline-reason'];
          resolve({ status: res.statusCode!, body: text, ...(typeof reason === 'string' && { reason }) });
        });
      },
    );
    sent.on('error', reject);
    if (waits) {
      sent.flushHeaders();
      sent.once('continue', () => sent.end(body));
    } else sent.end(body);
  });
}

/**
 * Behaves as garage-push does: asks from the commit down where the answer is 404, sends what is missing when its
 * children are there, 30 requests at a time, and last the ref.
 */
async function garagePush(o: PushLike, ref: string): Promise<Answered> {
  const repo = await openRepo(o.path);
  const commit = ostree(`--repo=${o.path}`, 'rev-parse', ref);
  let running = 0;
  const waiting: (() => void)[] = [];
  const limited = async <T>(work: () => Promise<T>): Promise<T> => {
    while (running >= 30) await new Promise<void>((resolve) => void waiting.push(resolve));
    running++;
    try {
      return await work();
    } finally {
      running--;
      waiting.shift()?.();
    }
  };
  const seen = new Map<string, Promise<void>>();
  const ensure = (name: string): Promise<void> => {
    let done = seen.get(name);
    if (!done) {
      done = one(name);
      seen.set(name, done);
    }
    return done;
  };
  const one = async (name: string): Promise<void> => {
    const at = `objects/${name.slice(0, 2)}/${name.slice(2)}`;
    const { status } = await limited(() => send(o, 'HEAD', at));
    if (status === 200) return;
    assert.equal(status, 404);
    await Promise.all((await childrenOf(name)).map(ensure));
    const answer = await limited(() => upload(at));
    o.counts.set(answer.status, (o.counts.get(answer.status) ?? 0) + 1);
    assert.ok(answer.status === 204 || answer.status === 409, `${name}: ${answer.status} ${answer.body}`);
  };
  const upload = (at: string): Promise<Answered> => {
    const data = readFileSync(join(o.path, at));
    if (!o.form) return send(o, 'POST', at, data, 'application/octet-stream');
    const head =
      '--XyZ\r\nContent-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: application/octet-stream\r\n\r\n';
    return send(
      o,
      'POST',
      at,
      Buffer.concat([Buffer.from(head), data, Buffer.from('\r\n--XyZ--\r\n')]),
      'multipart/form-data; boundary=XyZ',
    );
  };
  const childrenOf = async (name: string): Promise<string[]> => {
    const [checksum = '', type] = name.split('.');
    if (type === 'commit') {
      const { contents, meta } = (await readCommit(repo, checksum)).tree;
      const detached = `objects/${checksum.slice(0, 2)}/${checksum.slice(2)}.commitmeta`;
      const signatures = existsSync(join(o.path, detached)) ? [`${checksum}.commitmeta`] : [];
      return [...signatures, `${contents}.dirtree`, `${meta}.dirmeta`];
    }
    if (type !== 'dirtree') return [];
    const { files, dirs } = await readDirTree(repo, checksum);
    return [
      ...[...files.values()].map((file) => `${file}.filez`),
      ...[...dirs.values()].flatMap(({ contents, meta }) => [`${contents}.dirtree`, `${meta}.dirmeta`]),
    ];
  };
  await ensure(`${commit}.commit`);
  return send(o, 'POST', `refs/heads/${ref}`, Buffer.from(commit), 'application/x-www-form-urlencoded');
}

function yocto(t: TestContext) {
  const base = scratch(t);
  const [path, folder] = [join(base, 'repo'), join(base, 'tree')];
  execFileSync('mkdir', ['-p', ...Array.from({ length: 12 }, (_, i) => join(folder, `usr/lib/p${i}/deep`))]);
  for (let index = 0; index < 120; index++) {
    writeFileSync(join(folder, `usr/lib/p${index % 12}/deep/f${index}`), `content ${index}\n`.repeat(index + 1));
  }
  writeFileSync(join(folder, 'large'), Buffer.alloc(9_000_000, 'not the same all over '));
  ostree(`--repo=${path}`, 'init', '--mode=archive');
  const commit = (branch: string, text: string, ...more: string[]) => {
    writeFileSync(join(folder, 'version'), text);
    return ostree(`--repo=${path}`, 'commit', '-b', branch, '--canonical-permissions', ...more, folder);
  };
  return { path, commit };
}

const pushLike = (server: TestServer, path: string, token: string, prefix = '/treehub/'): PushLike => ({
  path,
  url: server.url + prefix,
  authorization: `Bearer ${token}`,
  counts: new Map(),
});

const tokenFor = async (server: TestServer, body: object) =>
  (await server.post<{ token: string }>('/tokens', body)).token;

test('what garage-push sends arrives, whole and once, whatever form and prefix it uses', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = yocto(t);
  const store = join(server.dataDir, 'store');
  const first = commit('imx8', '1');
  const one = pushLike(server, path, server.adminToken);
  assert.equal((await garagePush(one, 'imx8')).status, 204);
  assert.deepEqual([...one.counts.keys()], [204]);
  assert.equal(ostree(`--repo=${store}`, 'rev-parse', 'imx8'), first);
  ostree(`--repo=${store}`, 'fsck');

  const second = commit('imx8', '2');
  const basic = Buffer.from(`user:${server.adminToken}`).toString('base64');
  const two: PushLike = {
    ...pushLike(server, path, '', '/treehub/api/v3/'),
    authorization: `Basic ${basic}`,
    form: true,
  };
  assert.equal((await garagePush(two, 'imx8')).status, 204);
  // The commit, the root and one file.
  assert.equal(two.counts.get(204), 3);
  assert.equal(ostree(`--repo=${store}`, 'rev-parse', 'imx8'), second);
  ostree(`--repo=${store}`, 'fsck');
  // Nothing of it is left lying around.
  const staged = readdirSync(join(store, 'tmp')).filter((name) => name.startsWith('treeline-push-'));
  for (const name of staged) assert.deepEqual(readdirSync(join(store, 'tmp', name)), ['session']);
  const audit = await server.get<{ entries: { action: string; data: unknown }[] }>('/audit?limit=10');
  assert.deepEqual(
    audit.entries.filter(({ action }) => action === 'ref.push').map(({ data }) => data),
    [
      { commit: second, from: first, forced: false },
      { commit: first, from: null, forced: false },
    ],
  );

  // And it is pulled from the same address.
  const back = join(scratch(t), 'back');
  ostree(`--repo=${back}`, 'init', '--mode=archive');
  ostree(`--repo=${back}`, 'remote', 'add', '--no-gpg-verify', 't', `${server.url}/treehub/`);
  const header = `--http-header=Authorization=Bearer ${server.adminToken}`;
  // Without standing still: the server is in this process.
  await promisify(execFile)('ostree', [`--repo=${back}`, 'pull', header, 't', 'imx8']);
  ostree(`--repo=${back}`, 'fsck');
});

test('an object that is there already is a conflict, which garage-push takes for success', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = yocto(t);
  const rev = commit('a', '1');
  const o = pushLike(server, path, server.adminToken);
  await garagePush(o, 'a');
  const at = `objects/${rev.slice(0, 2)}/${rev.slice(2)}.commit`;
  assert.equal((await send(o, 'POST', at, readFileSync(join(path, at)), 'application/octet-stream')).status, 409);
  assert.equal((await send(o, 'HEAD', at)).status, 200);
  assert.equal((await send(o, 'HEAD', `objects/ab/${'c'.repeat(62)}.filez`)).status, 404);
});

test('builds that push at the same time with one token do not disturb each other', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = yocto(t);
  const branches = ['imx6', 'imx8', 'imx8mm', 'rpi'];
  // All but one file of each is the same.
  const commits = branches.map((branch) => commit(branch, branch));
  const answers = await Promise.all(
    branches.map((branch) => garagePush(pushLike(server, path, server.adminToken), branch)),
  );
  assert.deepEqual(
    answers.map(({ status, body }) => ({ status, body })),
    branches.map(() => ({ status: 204, body: '' })),
  );
  const store = join(server.dataDir, 'store');
  for (const [index, branch] of branches.entries()) {
    assert.equal(ostree(`--repo=${store}`, 'rev-parse', branch), commits[index]);
  }
  ostree(`--repo=${store}`, 'fsck');
});

test('signatures of a commit come along', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = yocto(t);
  const rev = commit('imx8', '1');
  const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const publicKey = Buffer.from(x, 'base64url');
  const secret = Buffer.concat([Buffer.from(d, 'base64url'), publicKey]);
  const signed = await openRepo(path);
  await signCommit(signed, rev, [ed25519Signer(secret.toString('base64'))]);
  assert.equal((await garagePush(pushLike(server, path, server.adminToken), 'imx8')).status, 204);
  const metadata = await readDetachedMetadata(await openRepo(join(server.dataDir, 'store')), rev);
  assert.deepEqual(metadata, await readDetachedMetadata(signed, rev));
  assert.ok(metadata?.some(([key]) => key === 'ostree.sign.ed25519'));
});

test('an object that is not what its name says is refused and never there', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = yocto(t);
  commit('a', '1');
  const o = pushLike(server, path, server.adminToken);
  const objects = readdirSync(join(path, 'objects'), { recursive: true }) as string[];
  for (const extension of ['filez', 'dirtree', 'dirmeta', 'commit']) {
    const name = objects.find((one) => one.endsWith(`.${extension}`))!;
    const data = readFileSync(join(path, 'objects', name));
    data[Math.floor(data.length / 2)]! ^= 0x10;
    const { status, body } = await send(o, 'POST', `objects/${name}`, data, 'application/octet-stream');
    assert.equal(status, 422, body);
    assert.match(body, /"code":"corrupt"/);
    assert.equal((await send(o, 'HEAD', `objects/${name}`)).status, 404);
    assert.equal((await send(o, 'POST', `objects/${name}`, Buffer.alloc(0), 'application/octet-stream')).status, 400);
  }
});

test('a ref moves forward with `push`; backward it takes `force`, which the header alone is not', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = yocto(t);
  const [first, orphan] = [commit('one', '1'), commit('two', '2', '--orphan')];
  const next = commit('one', '3');
  const token = await tokenFor(server, { name: 'yocto', allow: ['read', 'push'] });
  const o = pushLike(server, path, token);
  await garagePush(o, 'one');
  await garagePush(o, 'two');
  const move = (who: PushLike, body: string, ref = 'one') => send(who, 'POST', `refs/heads/${ref}`, Buffer.from(body));
  const refused = await move(o, orphan);
  assert.equal(refused.status, 409, refused.body);
  assert.match(refused.body, new RegExp(`holds ${next}`));
  // garage-push shows nothing of the body.
  assert.match(refused.reason!, new RegExp(`^ref [a-z]+ holds ${next}, which ${orphan} .* use a token that may force`));
  assert.equal((await move(o, next)).status, 204);
  assert.equal((await move(o, first)).status, 409);
  assert.equal((await move(pushLike(server, path, server.adminToken), orphan)).status, 204);
  assert.equal((await move(o, 'nonsense')).status, 400);
  assert.equal((await move(o, orphan, 'results/x')).status, 403);
  assert.equal((await move(o, orphan, '..%2f..%2fx')).status, 400);
  assert.equal((await move(o, 'f'.repeat(64), 'c')).status, 422);
  const viewer = await tokenFor(server, { name: 'viewer', allow: ['read'] });
  assert.equal((await move(pushLike(server, path, viewer), orphan)).status, 403);
  assert.equal((await send(pushLike(server, path, 'wrong'), 'HEAD', `objects/ab/${'c'.repeat(62)}.filez`)).status, 401);
});

test('a folder that is there without all that is in it is asked for again, so that the next try heals it', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = yocto(t);
  const rev = commit('one', '1');
  const admin = { Authorization: `Bearer ${server.adminToken}` };
  await push(await openRepo(path), `${server.url}/api/v1/push/`, { ref: 'x', rev, headers: admin });
  // As an interrupted pull or a prune can leave it: the folders, but not the file; and nobody's ref.
  const store = join(server.dataDir, 'store');
  ostree(`--repo=${store}`, 'refs', '--delete', 'x');
  rmSync(join(store, 'objects', rev.slice(0, 2), `${rev.slice(2)}.commit`));
  const objects = readdirSync(join(store, 'objects'), { recursive: true }) as string[];
  rmSync(join(store, 'objects', objects.find((one) => one.endsWith('.filez'))!));
  const o = pushLike(server, path, server.adminToken);
  const failed = await garagePush(o, 'one');
  assert.equal(failed.status, 422);
  assert.match(failed.body, /is not whole here: [0-9a-f]{64}\.file/);
  assert.equal((await garagePush(o, 'one')).status, 204);
  ostree(`--repo=${store}`, 'fsck');
});
