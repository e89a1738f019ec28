import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeFolder } from '../commit/folder.ts';
import { writeCommit } from '../commit/write-commit.ts';
import { generateDelta } from '../delta/generate.ts';
import { deltaFolder } from '../delta/names.ts';
import { deleteDelta, listDeltas } from '../delta/stored.ts';
import { type Checksum, loosePath } from '../formats/object-name.ts';
import { decodeSummary } from '../formats/summary.ts';
import { prune } from '../prune/prune.ts';
import { listCollectionRefs, setCollectionRef } from '../repo/collection-refs.ts';
import { hasObject } from '../repo/objects.ts';
import { listRefs, readRef, setRef } from '../repo/refs.ts';
import { createRepo, openRepo, type Repo, writeConfig } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { repositoryHandler } from '../serve/handler.ts';
import { signCommit } from '../sign/sign.ts';
import { ed25519Signer, gpgSigner, type Signer } from '../sign/signer.ts';
import { updateSummary } from '../summary/update.ts';
import { ed25519Keys } from '../testing/ed25519-keys.ts';
import { gpgHome } from '../testing/gpg.ts';
import { type Answer, startServer } from '../testing/http.ts';
import { pythonServer } from '../testing/http-server.ts';
import { noise, writeSampleFolder } from '../testing/sample-repo.ts';
import { ostree, ostreeMeanwhile, scratchFolder } from '../testing/scratch.ts';
import { type MirrorReport, mirrorMemory, mirrorRemote } from './mirror.ts';

async function release(repo: Repo, folder: string, ref: string, text: string): Promise<Checksum> {
  const parent = await readRef(repo, ref);
  writeFileSync(join(folder, 'usr/version'), `${text}\n`.repeat(50));
  return withTransaction(repo, async (tx) => {
    const tree = await writeFolder(tx, folder, { canonicalPermissions: true });
    const metadata = [['ostree.ref-binding', { type: 'as', value: [ref] }]] as const;
    const commit = await writeCommit(tx, { tree, parent, subject: text, timestamp: 1000, metadata });
    tx.setRef(ref, commit);
    return commit;
  });
}

/** A remote with two releases of `os/stable`, and whoever asks it. */
async function setUp(t: TestContext, change?: (path: string, files: Answer) => Answer | undefined) {
  const base = scratchFolder(t);
  const folder = join(base, 'folder');
  writeSampleFolder(folder);
  const theirs = await createRepo(join(base, 'theirs'));
  const first = await release(theirs, folder, 'os/stable', 'first');
  const second = await release(theirs, folder, 'os/stable', 'second');
  await updateSummary(theirs);
  const asked: string[] = [];
  const handler = repositoryHandler(theirs.path);
  const url = await startServer(t, async (req, res, path) => {
    asked.push(path);
    await (change?.(path, handler) ?? handler)(req, res, path);
  });
  return { base, folder, theirs, first, second, asked, url, mirror: join(base, 'mirror') };
}

const bytesOf = (path: string, name: string) => readFileSync(join(path, name));
const moved = (report: MirrorReport) => report.refs.map(({ name, to }) => `${name} ${to?.slice(0, 8) ?? 'gone'}`);

test('of a stock repository it is byte by byte what clients check: summary, signatures, deltas', async (t) => {
  const base = scratchFolder(t);
  const home = gpgHome(t);
  const key = home.newKey('Ann <ann@example.com>');
  const [theirs, folder, mirror] = [join(base, 'theirs'), join(base, 'folder'), join(base, 'mirror')];
  writeSampleFolder(folder);
  ostree(`--repo=${theirs}`, 'init', '--mode=archive');
  const signed = [`--gpg-homedir=${home.path}`, `--gpg-sign=${key}`];
  const commit = (...args: string[]) =>
    ostree(`--repo=${theirs}`, 'commit', '-b', 'os/stable', '--canonical-permissions', ...signed, ...args, folder);
  const first = commit('-s', 'first');
  writeFileSync(join(folder, 'large'), noise(3_100_000, 7));
  const second = commit('-s', 'second', `--parent=${first}`);
  ostree(`--repo=${theirs}`, 'static-delta', 'generate', `--from=${first}`, `--to=${second}`);
  ostree(`--repo=${theirs}`, 'static-delta', 'generate', '--empty', `--to=${second}`);
  ostree(`--repo=${theirs}`, 'commit', '-b', 'other', ...signed, folder);
  ostree(`--repo=${theirs}`, 'summary', '-u', ...signed);
  const keys = join(base, 'keys.gpg');
  writeFileSync(keys, home.gpg('--export'));
  const options = { url: await pythonServer(t, theirs), keys: { gpg: [keys] }, deltas: true, depth: -1 };
  const report = await mirrorRemote(mirror, options);
  assert.deepEqual(
    report.refs.map(({ name, from }) => [name, from]),
    [
      ['os/stable', null],
      ['other', null],
    ],
  );
  assert.deepEqual([report.deltas, report.summary], [2, 'theirs']);
  for (const name of ['summary', 'summary.sig']) assert.deepEqual(bytesOf(mirror, name), bytesOf(theirs, name));
  for (const name of ['superblock', '0']) {
    const path = join(deltaFolder(first, second), name);
    assert.deepEqual(bytesOf(mirror, path), bytesOf(theirs, path));
  }
  ostree(`--repo=${mirror}`, 'fsck');
  const again = await mirrorRemote(mirror, options);
  assert.deepEqual([again.refs, again.deltas, again.summary], [[], 0, null]);

  const url = await pythonServer(t, mirror);
  const client = join(base, 'client');
  ostree(`--repo=${client}`, 'init', '--mode=bare-user');
  ostree(`--repo=${client}`, 'remote', 'add', '--set=gpg-verify-summary=true', `--gpg-import=${keys}`, 'origin', url);
  await ostreeMeanwhile(`--repo=${client}`, 'pull', 'origin', first);
  await ostreeMeanwhile(`--repo=${client}`, 'pull', '--require-static-deltas', 'origin', 'os/stable');
  assert.equal(ostree(`--repo=${client}`, 'rev-parse', 'origin:os/stable'), second);
  ostree(`--repo=${client}`, 'fsck');
});

test('it follows: what is new is fetched, what is gone goes when it is told to, after a while', async (t) => {
  const { folder, theirs, first, second, asked, url, mirror } = await setUp(t);
  await setRef(theirs, 'os/old', first);
  await generateDelta(theirs, { from: first, to: second });
  await updateSummary(theirs);
  const options = { url, deltas: true, memory: mirrorMemory(), deleteAfter: 3600 };
  assert.deepEqual(moved(await mirrorRemote(mirror, options)), [
    `os/old ${first.slice(0, 8)}`,
    `os/stable ${second.slice(0, 8)}`,
  ]);
  const ours = await openRepo(mirror);
  // A round in which nothing has happened asks what the summary is, and no more.
  asked.length = 0;
  const idle = await mirrorRemote(mirror, { ...options, thorough: false, deltas: false });
  assert.deepEqual([idle.refs, idle.objects, idle.bytes, idle.summary], [[], 0, 0, null]);
  assert.deepEqual(new Set(asked), new Set(['/config', '/summary.sig', '/summary']));
  // A new release, and the end of the old one.
  const third = await release(theirs, folder, 'os/stable', 'third');
  await setRef(theirs, 'os/old', null);
  await deleteDelta(theirs, { from: first, to: second });
  await generateDelta(theirs, { from: second, to: third });
  await updateSummary(theirs);
  const next = await mirrorRemote(mirror, { ...options, thorough: false });
  assert.deepEqual(moved(next), ['os/old gone', `os/stable ${third.slice(0, 8)}`]);
  assert.deepEqual([next.deltas, next.deleted, next.summary], [1, 0, 'theirs']);
  assert.ok(next.objects < 10);
  assert.ok(hasObject(ours, 'commit', first) && (await listDeltas(ours)).length === 2);
  // No index names the delta that is on its way out.
  assert.ok(
    !existsSync(join(mirror, 'delta-indexes')) || ostree(`--repo=${mirror}`, 'static-delta', 'indexes') === third,
  );
  await sleep(1100);
  const late = await mirrorRemote(mirror, { ...options, deleteAfter: 1 });
  assert.ok(late.deleted > 1);
  assert.ok(!hasObject(ours, 'commit', first) && hasObject(ours, 'commit', third));
  assert.deepEqual(await listDeltas(ours), [{ from: second, to: third }]);
  ostree(`--repo=${mirror}`, 'fsck');
  assert.deepEqual(bytesOf(mirror, 'summary'), bytesOf(theirs.path, 'summary'));
});

test('of some refs it has a summary of its own; names and patterns say which', async (t) => {
  const { base, folder, theirs, url, mirror } = await setUp(t);
  for (const ref of ['os/edge', 'os/edge/arm', 'app/one', 'app/two'])
    await release(theirs, folder, ref.replace('edge/arm', 'arm/edge'), ref);
  await updateSummary(theirs);
  const named = async (...refs: string[]) => {
    const place = join(base, `mirror-${refs.join('-').replaceAll(/[*/]/g, '_')}`);
    const report = await mirrorRemote(place, { url, refs });
    assert.equal(report.summary, 'own');
    const listed = [...decodeSummary(bytesOf(place, 'summary')).refs.keys()];
    assert.deepEqual(listed, [...(await listRefs(await openRepo(place))).keys()]);
    assert.equal((await mirrorRemote(place, { url, refs })).summary, null);
    return listed;
  };
  assert.deepEqual(await named('os/*'), ['os/edge', 'os/stable']);
  assert.deepEqual(await named('os/**'), ['os/arm/edge', 'os/edge', 'os/stable']);
  assert.deepEqual(await named('app/one', '*/edge'), ['app/one', 'os/edge']);
  assert.deepEqual(await named('none/*'), []);
  await assert.rejects(mirrorRemote(mirror, { url, refs: ['none'] }), { code: 'not-found' });
  await assert.rejects(mirrorRemote(mirror, { url, refs: ['../x'] }), { code: 'invalid' });
  // Without a summary, single refs can be had.
  rmSync(join(theirs.path, 'summary'));
  assert.deepEqual(moved(await mirrorRemote(mirror, { url, refs: ['app/two'] })).length, 1);
  await assert.rejects(mirrorRemote(mirror, { url }), { code: 'not-found', message: /does not have a summary/ });
});

test('a remote that drops what it named a moment ago is asked again', async (t) => {
  let once = true;
  const world = await setUp(t, (path, files) => {
    if (!once || !path.endsWith('.dirtree')) return undefined;
    once = false;
    return async (req, res, asked) => {
      await release(world.theirs, world.folder, 'os/stable', 'third');
      await updateSummary(world.theirs);
      await prune(world.theirs, { refsOnly: true, depth: 0 });
      await files(req, res, asked);
    };
  });
  const { theirs, url, mirror } = world;
  const report = await mirrorRemote(mirror, { url });
  assert.equal(report.refs[0]!.to, await readRef(theirs, 'os/stable'));
  assert.deepEqual(bytesOf(mirror, 'summary'), bytesOf(theirs.path, 'summary'));
  ostree(`--repo=${mirror}`, 'fsck');
  // But what it never had is an error.
  const tree = (await import('../repo/objects.ts').then(({ readCommit }) => readCommit(theirs, report.refs[0]!.to!)))
    .tree;
  rmSync(join(theirs.path, 'objects', loosePath(tree.contents, 'dirtree')));
  await assert.rejects(mirrorRemote(join(world.base, 'another'), { url }), { code: 'not-found' });
});

test('it never has a summary with the signature of another, whether it could tell or not', async (t) => {
  const { secret, publicKey } = ed25519Keys();
  const signers: Signer[] = [ed25519Signer(secret)];
  let old: Buffer | null = null;
  let until = 0;
  const { folder, theirs, url, base } = await setUp(t, (path) => {
    // As a remote that is just replacing the two: the signature is an old one for some time.
    if (path !== '/summary.sig' || !old || Date.now() > until) return undefined;
    return (_req, res) => void res.writeHead(200, { 'content-length': old!.length }).end(old);
  });
  for (const commit of (await listRefs(theirs)).values()) await signCommit(theirs, commit, signers);
  await updateSummary(theirs, { signers });
  for (const keys of [{ ed25519: [publicKey] }, undefined]) {
    const mirror = join(base, `mirror-${keys ? 'with' : 'without'}`);
    await mirrorRemote(mirror, { url, ...(keys && { keys }) });
    old = bytesOf(theirs.path, 'summary.sig');
    await signCommit(theirs, await release(theirs, folder, 'os/stable', `more ${mirror}`), signers);
    await updateSummary(theirs, { signers });
    until = Date.now() + 700;
    await mirrorRemote(mirror, { url, ...(keys && { keys }) });
    for (const name of ['summary', 'summary.sig']) assert.deepEqual(bytesOf(mirror, name), bytesOf(theirs.path, name));
    old = null;
  }
});

test('with keys nothing gets in that is not signed with them', async (t) => {
  const { theirs, second, folder, url, mirror } = await setUp(t);
  const { secret, publicKey } = ed25519Keys();
  const keys = { ed25519: [publicKey] };
  const refused = async (message: RegExp, more: object = {}) => {
    await assert.rejects(mirrorRemote(mirror, { url, keys, ...more }), { code: 'signature', message });
    assert.equal((await listRefs(await openRepo(mirror))).size, 0);
  };
  await refused(/not signed/);
  await refused(/Can't verify commit/, { unsignedSummary: true });
  await updateSummary(theirs, { signers: [ed25519Signer(ed25519Keys().secret)] });
  await refused(/Signature couldn't be verified|no key/i);
  await updateSummary(theirs, { signers: [ed25519Signer(secret)] });
  await refused(/Can't verify commit/);
  await signCommit(theirs, second, [ed25519Signer(secret)]);
  await mirrorRemote(mirror, { url, keys });
  assert.ok(existsSync(join(mirror, 'objects', loosePath(second, 'commitmeta'))));
  // An unsigned release later: the mirror stays what it was.
  const summary = bytesOf(mirror, 'summary');
  await release(theirs, folder, 'os/stable', 'unsigned');
  await updateSummary(theirs, { signers: [ed25519Signer(secret)] });
  await assert.rejects(mirrorRemote(mirror, { url, keys }), { code: 'signature' });
  assert.deepEqual(bytesOf(mirror, 'summary'), summary);
  assert.equal(await readRef(await openRepo(mirror), 'os/stable'), second);
});

test('signatures that are added later come, too', async (t) => {
  const { theirs, second, url, mirror } = await setUp(t);
  const home = gpgHome(t);
  await mirrorRemote(mirror, { url });
  await signCommit(theirs, second, [gpgSigner({ keyId: home.newKey('Ann <ann@example.com>'), homedir: home.path })]);
  await mirrorRemote(mirror, { url, thorough: false });
  const meta = join('objects', loosePath(second, 'commitmeta'));
  assert.ok(!existsSync(join(mirror, meta)), 'only a thorough round asks for them');
  await mirrorRemote(mirror, { url });
  assert.deepEqual(bytesOf(mirror, meta), bytesOf(theirs.path, meta));
});

test('interrupted, it goes on where it was', async (t) => {
  const abort = new AbortController();
  let files = 0;
  const { folder, theirs, url, mirror, asked } = await setUp(t, (path) => {
    if (path.endsWith('.filez') && ++files === 200) abort.abort();
    return undefined;
  });
  for (let index = 0; index < 300; index++) writeFileSync(join(folder, `f${index}`), `file ${index}`);
  await release(theirs, folder, 'os/stable', 'many');
  await updateSummary(theirs);
  await assert.rejects(mirrorRemote(mirror, { url, signal: abort.signal }), { name: 'AbortError' });
  assert.ok(!existsSync(join(mirror, 'summary')));
  asked.length = 0;
  await mirrorRemote(mirror, { url });
  ostree(`--repo=${mirror}`, 'fsck');
  assert.ok(asked.filter((path) => path.endsWith('.filez')).length < 300);
});

test('a delta that is not what is said of it is refused', async (t) => {
  const { theirs, first, second, url, mirror } = await setUp(t);
  await generateDelta(theirs, { from: first, to: second });
  await updateSummary(theirs);
  const part = join(theirs.path, deltaFolder(first, second), '0');
  const good = readFileSync(part);
  writeFileSync(part, Buffer.from(good.map((byte, at) => (at === 20 ? byte ^ 1 : byte))));
  await assert.rejects(mirrorRemote(mirror, { url, deltas: true }), { code: 'corrupt', message: /list of deltas/ });
  assert.deepEqual(await listDeltas(await openRepo(mirror)), []);
  writeFileSync(part, good);
  await mirrorRemote(mirror, { url, deltas: true });
  assert.equal((await listDeltas(await openRepo(mirror))).length, 1);
});

test('collections are mirrored as what they are, those of others as well', async (t) => {
  const { theirs, first, second, url, mirror } = await setUp(t);
  theirs.config.get('core')!.set('collection-id', 'org.example.Own');
  await writeConfig(theirs, theirs.config);
  const own = await openRepo(theirs.path);
  await setCollectionRef(own, { collection: 'org.example.Other', ref: 'main' }, first);
  await updateSummary(own, { metadataCommit: false });
  await mirrorRemote(mirror, { url });
  assert.deepEqual(await listCollectionRefs(await openRepo(mirror)), [
    { collection: 'org.example.Other', ref: 'main', commit: first },
    { collection: 'org.example.Own', ref: 'os/stable', commit: second },
  ]);
  assert.equal(await readRef(await openRepo(mirror), 'os/stable'), second);
  assert.deepEqual((await mirrorRemote(mirror, { url, deleteAfter: 0 })).refs, []);
});

test('clients pull from the mirror while the remote publishes and prunes and the mirror follows', async (t) => {
  const { base, folder, theirs, url, mirror } = await setUp(t);
  const options = { url, deltas: true, deleteAfter: 120, memory: mirrorMemory() };
  await mirrorRemote(mirror, options);
  const from = await pythonServer(t, mirror);
  let going = true;
  const pulls = [0, 1].map(async (index) => {
    let count = 0;
    for (; going || count < 2; count++) {
      const client = join(base, `client-${index}-${count}`);
      ostree(`--repo=${client}`, 'init', '--mode=bare-user');
      ostree(`--repo=${client}`, 'remote', 'add', '--no-gpg-verify', 'origin', from);
      await ostreeMeanwhile(`--repo=${client}`, 'pull', 'origin', 'os/stable');
      await ostreeMeanwhile(`--repo=${client}`, 'fsck');
      rmSync(client, { recursive: true });
    }
    return count;
  });
  const publishing = (async () => {
    for (let version = 0; going; version++) {
      const before = (await readRef(theirs, 'os/stable'))!;
      const to = await release(theirs, folder, 'os/stable', `version ${version}`);
      if (version % 2 === 0) await generateDelta(theirs, { from: before, to });
      await updateSummary(theirs);
      if (version % 3 === 0) await prune(theirs, { refsOnly: true, depth: 0 });
      await sleep(300);
    }
  })();
  const settled = Promise.allSettled([...pulls, publishing]);
  const began = performance.now();
  const hasGoneOn = (ms: number) => performance.now() - began > ms;
  let followed = 0;
  try {
    while (!hasGoneOn(6000) || (followed <= 2 && !hasGoneOn(120_000))) {
      try {
        followed += (await mirrorRemote(mirror, options)).refs.length;
      } catch (error) {
        // A remote that prunes without waiting for anybody may be too quick for one round; the next one comes.
        assert.equal((error as { code?: string }).code, 'not-found');
      }
    }
  } finally {
    going = false;
    await settled;
  }
  const counts = await Promise.all(pulls);
  await publishing;
  t.diagnostic(`${counts.join(' and ')} pulls, ${followed} releases followed`);
  assert.ok(followed > 2);
  ostree(`--repo=${mirror}`, 'fsck');
});
