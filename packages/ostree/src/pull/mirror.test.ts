import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeCommit } from '../commit/write-commit.ts';
import { type Checksum, loosePath } from '../formats/object-name.ts';
import { listCollectionRefs } from '../repo/collection-refs.ts';
import { hasObject, objectPath } from '../repo/objects.ts';
import { listRefs } from '../repo/refs.ts';
import { createRepo, openRepo, type Repo, writeConfig } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { signCommit, signSummary } from '../sign/sign.ts';
import { ed25519Signer } from '../sign/signer.ts';
import { updateSummary } from '../summary/update.ts';
import { type Answer, plainFiles, startServer } from '../testing/http.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { pull } from './pull.ts';

/** Raw keys as libostree has them, in base64. */
function keys(): { secret: string; publicKey: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const seed = Buffer.from(privateKey.export({ format: 'jwk' }).d!, 'base64url');
  const open = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url');
  return { secret: Buffer.concat([seed, open]).toString('base64'), publicKey: open.toString('base64') };
}

async function configured(repo: Repo, settings: Record<string, Record<string, string>>): Promise<Repo> {
  for (const [group, values] of Object.entries(settings)) {
    repo.config.set(group, new Map([...(repo.config.get(group) ?? []), ...Object.entries(values)]));
  }
  await writeConfig(repo, repo.config);
  return openRepo(repo.path);
}

async function commitRef(repo: Repo, ref: string, bindings: Record<string, string> = {}): Promise<Checksum> {
  return withTransaction(repo, async (tx) => {
    const commit = await writeCommit(tx, {
      tree: tx.emptyTree(),
      timestamp: 1,
      subject: ref,
      metadata: [
        ['ostree.ref-binding', { type: 'as', value: [ref] }],
        ...Object.entries(bindings).map(([key, value]) => [key, { type: 's', value }] as const),
      ],
    });
    tx.setRef(ref, commit);
    return commit;
  });
}

interface Served {
  repo: Repo;
  url: string;
  asked: string[];
}

async function serve(t: TestContext, repo: Repo, answer: Answer = plainFiles(repo.path)): Promise<Served> {
  const asked: string[] = [];
  const url = await startServer(t, (req, res, path) => {
    asked.push(path);
    return answer(req, res, path);
  });
  return { repo, url, asked };
}

test('a mirror has the refs, and the summary, as the remote has them', async (t) => {
  const base = scratchFolder(t);
  const theirs = await createRepo(join(base, 'theirs'));
  for (const ref of ['main', 'os/amd64']) await commitRef(theirs, ref);
  await updateSummary(theirs);
  const { url } = await serve(t, theirs);
  for (const [index, from] of [url, theirs.path].entries()) {
    const mirror = await createRepo(join(base, `mirror-${index}`));
    await pull(mirror, { url: from, refs: ['main'], mirror: true, remote: 'origin' });
    assert.deepEqual([...(await listRefs(mirror)).keys()], ['main']);
    assert.ok(!existsSync(join(mirror.path, 'summary')), 'a part of the refs has not the summary of them all');
    await pull(mirror, { url: from, mirror: true, remote: 'origin' });
    assert.deepEqual(await listRefs(mirror), await listRefs(theirs));
    assert.deepEqual(readFileSync(join(mirror.path, 'summary')), readFileSync(join(theirs.path, 'summary')));
  }
  await commitRef(theirs, 'aliased').then((commit) =>
    withTransaction(theirs, async (tx) => tx.setRef('alias', commit)),
  );
  await updateSummary(theirs);
  const mirror = await createRepo(join(base, 'mirror'));
  await assert.rejects(pull(mirror, { url, mirror: true }), { code: 'invalid', message: /no requested ref ‘alias’/ });
  await pull(mirror, { url, mirror: true, verifyBindings: false });
});

test('refs of collections are mirrored under these, and must be bound to them', async (t) => {
  const base = scratchFolder(t);
  const collection = 'org.example.Robots';
  const plain = await createRepo(join(base, 'theirs'));
  const theirs = await configured(plain, { core: { 'collection-id': collection } });
  const bound = await commitRef(theirs, 'main', { 'ostree.collection-binding': collection });
  const other = await commitRef(theirs, 'other', { 'ostree.collection-binding': 'org.example.Others' });
  const free = await commitRef(theirs, 'free');
  await updateSummary(theirs, { metadataCommit: false });
  const { url } = await serve(t, theirs);
  for (const [index, from] of [url, theirs.path].entries()) {
    const mirror = await createRepo(join(base, `mirror-${index}`));
    const options = { url: from, mirror: true, remote: 'origin', collectionId: collection };
    await pull(mirror, { ...options, refs: ['main'] });
    await pull(mirror, { ...options, collectionRefs: [{ collection, ref: 'main' }] });
    assert.deepEqual(await listCollectionRefs(mirror), [{ collection, ref: 'main', commit: bound }]);
    assert.equal((await listRefs(mirror)).size, 0);
    for (const [ref, message] of [
      ['other', /collection ID ‘org.example.Others’ .* has collection ID ‘org.example.Robots’/],
      ['free', /Expected commit metadata to have collection ID binding/],
    ] as const) {
      await assert.rejects(pull(mirror, { ...options, refs: [ref] }), { code: 'invalid', message });
    }
    for (const commit of [other, free]) {
      await assert.rejects(pull(mirror, { ...options, commits: [commit] }), { code: 'invalid' });
    }
    await pull(mirror, { ...options, refs: ['other', 'free'], verifyBindings: false });
    const missing = pull(mirror, { ...options, collectionRefs: [{ collection: 'org.example.None', ref: 'main' }] });
    await assert.rejects(missing, { code: 'not-found' });
  }
  // What is served of other collections is mirrored under their names, too.
  const chain = await createRepo(join(base, 'chain'));
  const second = await openRepo(join(base, 'mirror-0'));
  await updateSummary(second);
  const { url: next } = await serve(t, second);
  await pull(chain, { url: next, mirror: true, verifyBindings: false });
  assert.deepEqual(await listCollectionRefs(chain), await listCollectionRefs(second));
});

test('nothing is pulled that is not signed as the remote must', async (t) => {
  const base = scratchFolder(t);
  const { secret, publicKey } = keys();
  const theirs = await createRepo(join(base, 'theirs'));
  const commit = await commitRef(theirs, 'main');
  const { url, asked } = await serve(t, theirs);
  const remote = { url, 'gpg-verify': 'false', 'sign-verify': 'ed25519', 'verification-ed25519-key': publicKey };
  const repo = await configured(await createRepo(join(base, 'ours')), { 'remote "origin"': remote });
  const options = { url, refs: ['main'], remote: 'origin' };
  await assert.rejects(pull(repo, options), { code: 'signature' });
  assert.ok(!asked.some((path) => path.endsWith('.dirtree')), 'the tree of an unsigned commit is not asked for');
  assert.ok(!hasObject(repo, 'commit', commit));
  await signCommit(theirs, commit, [ed25519Signer(keys().secret)]);
  await assert.rejects(pull(repo, options), { code: 'signature' });
  await signCommit(theirs, commit, [ed25519Signer(secret)]);
  await pull(repo, options);
  assert.ok(hasObject(repo, 'commitmeta', commit));
  // The signature of a commit that is here is fetched again when it is gone, and looked at each time.
  rmSync(objectPath(repo, 'commitmeta', commit));
  await pull(repo, options);
  assert.ok(existsSync(objectPath(repo, 'commitmeta', commit)));
  rmSync(objectPath(repo, 'commitmeta', commit));
  const meta = join(theirs.path, 'objects', loosePath(commit, 'commitmeta'));
  writeFileSync(meta, 'rubbish');
  await assert.rejects(pull(repo, options), { name: 'OstreeError' });
  rmSync(meta);
  await assert.rejects(pull(repo, options), { code: 'signature' });
  // Only who says so takes it as it is.
  await pull(repo, { ...options, verify: { commits: { gpg: false, sign: false } } });
  await pull(repo, { url, refs: ['main'], remote: 'another' });
});

test('a summary must be signed where that is demanded, and is cached as long as its signature stays', async (t) => {
  const base = scratchFolder(t);
  const { secret, publicKey } = keys();
  const theirs = await createRepo(join(base, 'theirs'));
  await commitRef(theirs, 'main');
  const files = plainFiles(theirs.path);
  const conditions: (string | undefined)[] = [];
  const { url, asked } = await serve(t, theirs, (req, res, path) => {
    if (path !== '/summary.sig' || !existsSync(join(theirs.path, 'summary.sig'))) return files(req, res, path);
    conditions.push(req.headers['if-none-match']);
    const data = readFileSync(join(theirs.path, 'summary.sig'));
    const etag = `"${data.toString('base64').slice(-20)}"`;
    if (req.headers['if-none-match'] === etag) res.writeHead(304).end();
    else res.writeHead(200, { etag }).end(data);
  });
  const remote = {
    url,
    'gpg-verify': 'false',
    'sign-verify-summary': 'ed25519',
    'verification-ed25519-key': publicKey,
  };
  const repo = await configured(await createRepo(join(base, 'ours')), { 'remote "origin"': remote });
  const options = { url, refs: ['main'], remote: 'origin' };
  await assert.rejects(pull(repo, options), { code: 'signature', message: /no summary found/ });
  await updateSummary(theirs);
  await assert.rejects(pull(repo, options), { code: 'signature', message: /no summary.sig found/ });
  await signSummary(theirs, [ed25519Signer(secret)]);
  await pull(repo, options);
  const cached = join(repo.path, 'tmp/cache/summaries/origin');
  assert.deepEqual(readFileSync(cached), readFileSync(join(theirs.path, 'summary')));
  const before = statSync(cached).ino;
  asked.length = 0;
  await pull(repo, options);
  assert.ok(!asked.includes('/summary'), 'the same signature is of the same summary');
  assert.equal(statSync(cached).ino, before);
  assert.match(conditions.at(-1)!, /^"/);
  // What the cache holds is verified as what comes is.
  writeFileSync(cached, 'something else');
  utimesSync(cached, 0, 0);
  await assert.rejects(pull(repo, { ...options, strictCache: true }), { message: /cached summary invalid/ });
  await pull(repo, options);
  assert.deepEqual(readFileSync(cached), readFileSync(join(theirs.path, 'summary')));
  // A ref beside a signed summary is not signed.
  await commitRef(theirs, 'new');
  await assert.rejects(pull(repo, { ...options, refs: ['new'] }), {
    code: 'not-found',
    message: /No such branch 'new'/,
  });
  const cache = join(base, 'cache');
  rmSync(join(repo.path, 'tmp/cache'), { recursive: true });
  await pull(repo, { ...options, cacheFolder: cache });
  await pull(repo, { ...options, cacheFolder: null });
  assert.ok(existsSync(join(cache, 'summaries/origin.sig')));
  assert.ok(!existsSync(join(repo.path, 'tmp/cache/summaries')));
});
