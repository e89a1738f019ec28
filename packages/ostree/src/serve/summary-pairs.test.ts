import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeCommit } from '../commit/write-commit.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { decodeSignatures, signaturesOf } from '../sign/remote-verification.ts';
import { signatureType } from '../sign/signature-type.ts';
import { ed25519Signer, gpgSigner, type Signer } from '../sign/signer.ts';
import { updateSummary } from '../summary/update.ts';
import { ed25519Keys } from '../testing/ed25519-keys.ts';
import { gpgHome } from '../testing/gpg.ts';
import { startServer } from '../testing/http.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { repositoryHandler } from './handler.ts';
import { serveRepository } from './server.ts';

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

async function release(repo: Repo, version: number, signers: readonly Signer[]): Promise<void> {
  await withTransaction(repo, async (tx) => {
    const metadata = [['version', { type: 's', value: `${version}` }]] as const;
    tx.setRef('main', await writeCommit(tx, { tree: tx.emptyTree(), timestamp: version, metadata }));
  });
  await updateSummary(repo, { signers });
}

async function signedRepo(t: TestContext) {
  const { secret, publicKey } = ed25519Keys();
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  const signers = [ed25519Signer(secret)];
  await release(repo, 1, signers);
  const verifier = await signatureType('ed25519').verifier({ inline: [publicKey] });
  const fits = async (signature: Answer, summary: Answer) => {
    try {
      await verifier.verify(summary.body, signaturesOf(decodeSignatures(signature.body), 'ostree.sign.ed25519')!);
      return true;
    } catch {
      return false;
    }
  };
  const server = await serveRepository(repo.path);
  t.after(() => server.close());
  /** A client with one connection. */
  const client = () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    const { hostname, port } = new URL(server.url);
    return (path: string, headers: Record<string, string> = {}, method = 'GET') =>
      new Promise<Answer>((resolve, reject) => {
        const sent = request({ agent, hostname, port, path, method, headers }, (res) => {
          const chunks: Buffer[] = [];
          res.on('data', (chunk: Buffer) => chunks.push(chunk));
          res.on('end', () => resolve({ status: res.statusCode!, headers: res.headers, body: Buffer.concat(chunks) }));
        });
        sent.on('error', reject).end();
      });
  };
  return { repo, signers, fits, client };
}

test('a connection that got a signature gets the summary that goes with it, whatever was published since', async (t) => {
  const { repo, signers, fits, client } = await signedRepo(t);
  const ask = client();
  const signature = await ask('/summary.sig');
  await release(repo, 2, signers);
  await release(repo, 3, signers);
  const head = await ask('/summary', {}, 'HEAD');
  const part = await client()('/summary', { range: 'bytes=0-9' });
  const summary = await ask('/summary');
  assert.ok(await fits(signature, summary));
  assert.equal(head.headers.etag, summary.headers.etag);
  assert.notEqual(part.headers['content-range'], `bytes 0-9/${summary.body.length}0`);
  // Once: the next time it is the newest, and so it is for everybody else.
  const newest = await ask('/summary');
  assert.ok(!(await fits(signature, newest)));
  assert.deepEqual((await client()('/summary')).body, newest.body);
  const [next, following] = [await ask('/summary.sig'), await ask('/summary')];
  assert.ok(await fits(next, following));
  assert.deepEqual(following.body, newest.body);
});

test('a client that has what was promised is told so, and a part of it is a part of the same', async (t) => {
  const { repo, signers, client } = await signedRepo(t);
  const ask = client();
  await ask('/summary.sig');
  const first = await ask('/summary');
  await ask('/summary.sig', { 'if-none-match': (await ask('/summary.sig')).headers.etag! });
  await release(repo, 2, signers);
  assert.equal((await ask('/summary', { 'if-none-match': first.headers.etag! })).status, 304);
  await ask('/summary.sig');
  await release(repo, 3, signers);
  const part = await ask('/summary', { range: 'bytes=5-20' });
  assert.equal(part.status, 206);
  await ask('/summary.sig');
  const whole = await ask('/summary');
  assert.notEqual(whole.headers.etag, part.headers.etag);
});

test('through a proxy a client is known by what the proxy calls it, and not at all without that', async (t) => {
  const { repo, signers, fits, client } = await signedRepo(t);
  const proxy = client();
  const a = await proxy('/summary.sig', { 'x-treeline-connection': 'a', via: '1.1 edge' });
  await release(repo, 2, signers);
  const b = await proxy('/summary.sig', { 'x-treeline-connection': 'b', via: '1.1 edge' });
  await release(repo, 3, signers);
  const [forB, forA] = [
    await client()('/summary', { 'x-treeline-connection': 'b' }),
    await proxy('/summary', { 'x-treeline-connection': 'a' }),
  ];
  assert.ok((await fits(a, forA)) && (await fits(b, forB)));
  assert.ok(!forA.body.equals(forB.body));
  await proxy('/summary.sig', { via: '1.1 edge' });
  await release(repo, 4, signers);
  const unknown = await proxy('/summary', { via: '1.1 edge' });
  assert.deepEqual(unknown.body, (await client()('/summary')).body);
  // Neither does a request for something else leave a promise behind.
  const ask = client();
  await ask('/summary.sig');
  await ask('/config');
  await release(repo, 5, signers);
  assert.deepEqual((await ask('/summary')).body, (await client()('/summary')).body);
});

test('stock clients that check GPG signatures meet none that is wrong while summaries change all the time', async (t) => {
  const base = scratchFolder(t);
  const home = gpgHome(t);
  const signers = [gpgSigner({ keyId: home.newKey('Ann <ann@example.com>'), homedir: home.path })];
  const repo = await createRepo(join(base, 'repo'));
  await release(repo, 1, signers);
  const handler = repositoryHandler(repo.path);
  let version = 1;
  let last = Promise.resolve();
  // The worst that can be: whenever a client has the signature, there is a new summary before it asks for that.
  const url = await startServer(t, async (req, res, path) => {
    if (path === '/summary') {
      last = last.then(() => release(repo, ++version, signers));
      await last;
    }
    await handler(req, res, path);
  });
  writeFileSync(join(base, 'keys.gpg'), home.gpg('--export'));
  const running: ChildProcess[] = [];
  t.after(() => {
    for (const child of running) child.kill();
  });
  const loops = ['remote refs', 'remote refs', 'pull', 'remote refs'].map((verb, index) => {
    const client = join(base, `client-${index}`);
    ostree(`--repo=${client}`, 'init', '--mode=archive');
    const config = [
      '--set=gpg-verify=false',
      '--set=gpg-verify-summary=true',
      `--gpg-import=${join(base, 'keys.gpg')}`,
    ];
    ostree(`--repo=${client}`, 'remote', 'add', ...config, 'origin', url);
    const once = verb === 'pull' ? 'pull origin main' : 'remote refs origin';
    const script = `n=0; while [ ! -e ${base}/stop ] || [ $n -lt 2 ]; do ostree --repo=${client} ${once} >/dev/null || exit 1; n=$((n+1)); done; echo $n`;
    const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'pipe'] });
    running.push(child);
    const said: Buffer[] = [];
    child.stdout.on('data', (data: Buffer) => said.push(data));
    child.stderr.on('data', (data: Buffer) => said.push(data));
    return new Promise<number>((resolve, reject) => {
      child.on('close', (code) => {
        const text = Buffer.concat(said).toString();
        if (code === 0) resolve(Number(text));
        else reject(new Error(`${once}: ${text}`));
      });
    });
  });
  const settled = Promise.allSettled(loops);
  await sleep(3000);
  writeFileSync(join(base, 'stop'), '');
  await settled;
  const counts = await Promise.all(loops);
  assert.ok(counts.every((count) => count > 1) && version > 5, `${counts.join()} pulls, ${version} versions`);
  t.diagnostic(`${counts.reduce((sum, count) => sum + count, 0)} times a client looked, at ${version} versions`);
});
