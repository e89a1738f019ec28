import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { writeFolder } from '../commit/folder.ts';
import { writeCommit } from '../commit/write-commit.ts';
import { decodeFilezHeader } from '../formats/file.ts';
import type { Checksum } from '../formats/object-name.ts';
import { prune } from '../prune/prune.ts';
import { objectPath, readCommit, readDirTree } from '../repo/objects.ts';
import { readRef, setRef } from '../repo/refs.ts';
import { createRepo, openRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { receivingServer } from '../testing/push.ts';
import { libostreeRepo, noise } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { until } from '../testing/until.ts';
import type { ObjectId } from './object-list.ts';
import { encodePack, type PackPiece } from './pack.ts';
import { push } from './push.ts';
import { PushReceiver } from './receiver.ts';
import { sessionId } from './session.ts';

const HOUR_MS = 3_600_000;

/** Everything that a commit consists of, as one would send it. */
async function piecesOf(repo: Repo, commit: Checksum): Promise<PackPiece[]> {
  const pieces = new Map<string, PackPiece>();
  const add = ({ type, checksum }: ObjectId) => {
    const data = readFileSync(objectPath(repo, type, checksum));
    pieces.set(`${type}${checksum}`, { type, checksum, total: data.length, offset: 0, data });
  };
  const walk = async (contents: Checksum): Promise<void> => {
    const tree = await readDirTree(repo, contents);
    for (const checksum of tree.files.values()) add({ type: 'file', checksum });
    for (const dir of tree.dirs.values()) {
      await walk(dir.contents);
      add({ type: 'dirtree', checksum: dir.contents });
      add({ type: 'dirmeta', checksum: dir.meta });
    }
  };
  const { tree } = await readCommit(repo, commit);
  await walk(tree.contents);
  add({ type: 'dirtree', checksum: tree.contents });
  add({ type: 'dirmeta', checksum: tree.meta });
  add({ type: 'commit', checksum: commit });
  return [...pieces.values()];
}

async function packOf(pieces: readonly PackPiece[]): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of encodePack([pieces])) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* stream(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

function isSameFile(one: Uint8Array, other: Uint8Array): boolean {
  const read = (data: Uint8Array) => {
    const { bodyOffset } = decodeFilezHeader(data, 'x.filez');
    return Buffer.concat([data.subarray(0, bodyOffset), inflateRawSync(data.subarray(bodyOffset))]);
  };
  try {
    return read(one).equals(read(other));
  } catch {
    return false;
  }
}

/** Files of objects in a repository and in what is being pushed into it. */
function objectsIn(repo: Repo): string[] {
  return (readdirSync(repo.path, { recursive: true }) as string[])
    .filter((name) => /[0-9a-f]{62}\.(filez|dirtree|dirmeta|commit)$/.test(name))
    .sort();
}

test('a tampered object never becomes visible, and does not count as received; what came before it does', async (t) => {
  const base = scratchFolder(t);
  const { path, commit } = libostreeRepo(base);
  const { repo, receiver } = await receivingServer(t, base);
  const pieces = await piecesOf(await openRepo(path), commit);
  const { id } = await receiver.open({ owner: 'me', ref: 'main', commit });
  for (const type of ['file', 'dirtree', 'dirmeta', 'commit'] as const) {
    const { data, ...victim } = pieces.find((piece) => piece.type === type && piece.data.length < 1000)!;
    for (let at = 0; at < data.length; at += 7) {
      const copy = Buffer.from(data);
      copy[at]! ^= 0x40;
      if (type === 'file' && isSameFile(copy, data)) continue; // deflate has more than one way to say something
      const bytes = await packOf([{ ...victim, data: copy }]);
      await assert.rejects(receiver.receive(id, 'me', stream(bytes)), { code: 'corrupt' }, `${type} at ${at}`);
      assert.deepEqual(objectsIn(repo), []);
      assert.deepEqual(await receiver.missing(id, 'me', [victim]), ['missing']);
    }
  }
  // A pack with one bad object among good ones.
  const bad = { ...pieces[40]!, data: Buffer.from('nothing of the kind'), total: 19 };
  const pack = await packOf([...pieces.slice(0, 40), bad, ...pieces.slice(41)]);
  await assert.rejects(receiver.receive(id, 'me', stream(pack)), (error: Error) => {
    assert.match(error.message, new RegExp(bad.checksum));
    return true;
  });
  const states = await receiver.missing(id, 'me', pieces);
  assert.equal(states[40], 'missing');
  assert.ok(states.slice(0, 40).filter((state) => state === 'received').length > 20);
  assert.deepEqual(
    objectsIn(repo).filter((name) => name.startsWith('objects/')),
    [],
  );
});

test('a large object is refused as well, whole or in pieces, and what lies about of it is gone', async (t) => {
  const base = scratchFolder(t);
  const { path, folder } = libostreeRepo(base);
  writeFileSync(join(folder, 'huge'), noise(6_000_000, 5));
  const commit = ostree(`--repo=${path}`, 'commit', '-b', 'huge', '--canonical-permissions', folder);
  const { repo, receiver } = await receivingServer(t, base);
  const pieces = await piecesOf(await openRepo(path), commit);
  const huge = pieces.find(({ data }) => data.length > 5_000_000)!;
  const { id } = await receiver.open({ owner: 'me', ref: 'main', commit });
  const tampered = Buffer.from(huge.data);
  tampered[3_000_000]! ^= 1;
  await assert.rejects(receiver.receive(id, 'me', stream(await packOf([{ ...huge, data: tampered }]))), {
    code: 'corrupt',
  });
  assert.deepEqual(objectsIn(repo), []);
  assert.deepEqual(await receiver.missing(id, 'me', [huge]), ['missing']);
  // In pieces, the first of which stays when the second does not come.
  const half = 3_000_000;
  const first = { ...huge, total: null, data: Buffer.from(huge.data).subarray(0, half) };
  await receiver.receive(id, 'me', stream(await packOf([first])));
  assert.deepEqual(await receiver.missing(id, 'me', [huge]), [half]);
  const wrong = { ...huge, offset: half + 1, data: Buffer.from(huge.data).subarray(half + 1) };
  await assert.rejects(receiver.receive(id, 'me', stream(await packOf([wrong]))), { code: 'conflict' });
  const second = { ...huge, offset: half, data: Buffer.from(huge.data).subarray(half) };
  await receiver.receive(id, 'me', stream(await packOf([second])));
  assert.deepEqual(await receiver.missing(id, 'me', [huge]), ['received']);
});

test('of two who send the same large object at once the later one goes on, and the object is whole', async (t) => {
  const base = scratchFolder(t);
  const { path, folder } = libostreeRepo(base);
  writeFileSync(join(folder, 'huge'), noise(6_000_000, 5));
  const commit = ostree(`--repo=${path}`, 'commit', '-b', 'huge', '--canonical-permissions', folder);
  const { repo, receiver } = await receivingServer(t, base);
  const huge = (await piecesOf(await openRepo(path), commit)).find(({ data }) => data.length > 5_000_000)!;
  const { id } = await receiver.open({ owner: 'me', ref: 'main', commit });
  const bytes = await packOf([huge]);
  let stalled: (() => void) | undefined;
  const stalling = (async function* () {
    yield bytes.subarray(0, 2_000_000);
    await new Promise<void>((resolve) => {
      stalled = resolve;
    });
    yield bytes.subarray(2_000_000);
  })();
  const slow = receiver.receive(id, 'me', stalling);
  slow.catch(() => {});
  await until(() => stalled !== undefined, 'the slow one at its pause');
  await receiver.receive(id, 'me', stream(bytes));
  stalled!();
  await assert.rejects(slow, { code: 'conflict' });
  assert.deepEqual(await receiver.missing(id, 'me', [huge]), ['received']);
  const file = objectsIn(repo).find((name) => name.includes(huge.checksum))!;
  assert.deepEqual(readFileSync(join(repo.path, file)), Buffer.from(huge.data));
});

test('finishing names what is missing and moves nothing', async (t) => {
  const base = scratchFolder(t);
  const { path, commit } = libostreeRepo(base);
  const { repo, receiver } = await receivingServer(t, base);
  const pieces = await piecesOf(await openRepo(path), commit);
  const { id } = await receiver.open({ owner: 'me', ref: 'main', commit });
  const wish = { ref: 'main', commit, expect: null, force: false };
  const nothing = await receiver.finish(id, 'me', wish);
  assert.deepEqual(nothing, { state: 'incomplete', missing: [{ type: 'commit', checksum: commit }] });
  const left = pieces.filter(({ type }) => type === 'file').slice(10, 13);
  const sent = pieces.filter((piece) => !left.includes(piece));
  await receiver.receive(id, 'me', stream(await packOf(sent)));
  const result = await receiver.finish(id, 'me', { ...wish, force: true });
  assert.equal(result.state, 'incomplete');
  const names = (list: readonly ObjectId[]) => list.map(({ type, checksum }) => `${type} ${checksum}`).sort();
  assert.deepEqual(names((result as { missing: ObjectId[] }).missing), names(left));
  assert.equal(await readRef(repo, 'main'), null);
  assert.deepEqual(
    objectsIn(repo).filter((name) => name.startsWith('objects/')),
    [],
  );
  await receiver.receive(id, 'me', stream(await packOf(left)));
  assert.deepEqual(await receiver.finish(id, 'me', wish), { state: 'moved', from: null });
  ostree(`--repo=${repo.path}`, 'fsck');
});

test('pushes that share a session are finished at once, though what one has sent is moved for another', async (t) => {
  const base = scratchFolder(t);
  const source = await createRepo(join(base, 'source'));
  const commits = await withTransaction(source, async (tx) => {
    const made: Checksum[] = [];
    for (let number = 0; number < 6; number++) {
      // Most of it is the same.
      mkdirSync(join(base, 'tree'), { recursive: true });
      for (let index = 0; index < 300; index++) writeFileSync(join(base, `tree/f${index}`), `content ${index}`);
      writeFileSync(join(base, 'tree/own'), String(number));
      const tree = await writeFolder(tx, join(base, 'tree'));
      made.push(await writeCommit(tx, { tree, subject: String(number) }));
    }
    return made;
  });
  const { repo, receiver } = await receivingServer(t, base);
  const { id } = await receiver.open({ owner: 'me', ref: null, commit: null });
  for (const commit of commits) {
    await receiver.receive(id, 'me', stream(await packOf(await piecesOf(source, commit))));
  }
  const results = await Promise.all(
    commits.map((commit, index) =>
      receiver.finish(id, 'me', { ref: `ref${index}`, commit, expect: null, force: false }),
    ),
  );
  assert.deepEqual(
    results,
    commits.map(() => ({ state: 'moved', from: null })),
  );
  for (const [index, commit] of commits.entries()) assert.equal(await readRef(repo, `ref${index}`), commit);
  ostree(`--repo=${repo.path}`, 'fsck');
});

test('a push may stage so much and no more, alone and with others', async (t) => {
  const base = scratchFolder(t);
  const { path } = libostreeRepo(base);
  const sender = await openRepo(path);
  const small = await receivingServer(t, base, { limits: { sessionBytes: 1_000_000 } });
  await assert.rejects(push(sender, small.url, { ref: 'main' }), (error: Error & { code: string }) => {
    assert.equal(error.code, 'no-space');
    assert.match(error.message, /1000000 bytes/);
    return true;
  });
  assert.equal(await readRef(small.repo, 'main'), null);
  assert.ok(small.receiver.stagedBytes <= 1_000_000);
  const shared = await receivingServer(t, join(base, 'shared'), { limits: { totalBytes: 3_500_000 } });
  const { id } = await shared.receiver.open({ owner: 'other', ref: 'x', commit: 'a'.repeat(64) });
  const part: PackPiece = {
    type: 'file',
    checksum: 'b'.repeat(64),
    total: null,
    offset: 0,
    data: Buffer.alloc(1_000_000),
  };
  await shared.receiver.receive(id, 'other', stream(await packOf([part])));
  await assert.rejects(push(sender, shared.url, { ref: 'main' }), /together/);
  await shared.receiver.abandon(id, 'other');
  await push(sender, shared.url, { ref: 'main' });
});

test('a caller who begins more pushes than he may loses the one that he has left alone for longest', async (t) => {
  const base = scratchFolder(t);
  let now = Date.now();
  const { receiver, repo } = await receivingServer(t, base, { limits: { sessionsPerOwner: 2 }, now: () => now });
  const open = (ref: string, owner = 'me') => receiver.open({ owner, ref, commit: 'a'.repeat(64) });
  const one = await open('one');
  now += 120_000;
  const two = await open('two');
  now += 120_000;
  const others = await open('one', 'you');
  await open('three');
  await assert.rejects(receiver.missing(one.id, 'me', []), { code: 'not-found' });
  await receiver.missing(two.id, 'me', []);
  await receiver.missing(others.id, 'you', []);
  assert.equal(readdirSync(join(repo.path, 'tmp')).filter((name) => name.startsWith('treeline-push-')).length, 3);
});

test('pushes that nobody goes on with are removed, and folders that are none; what is in use stays', async (t) => {
  const base = scratchFolder(t);
  const repo = await createRepo(join(base, 'store'));
  let now = Date.now();
  const first = await PushReceiver.open(repo, { now: () => now });
  const identity = (ref: string) => ({ owner: 'me', ref, commit: 'a'.repeat(64) });
  await first.open(identity('old'));
  now += 20 * HOUR_MS;
  await first.open(identity('young'));
  now += 5 * HOUR_MS;
  assert.equal(await first.tidy(), 1);
  const tmp = join(repo.path, 'tmp');
  const folder = (ref: string) => join(tmp, `treeline-push-${sessionId(identity(ref))}`);
  assert.deepEqual([existsSync(folder('old')), existsSync(folder('young'))], [false, true]);
  await first.open(identity('third'));
  await first.close();
  // Nobody's: without a session file, with a damaged one, with one of another push.
  const strays = ['0'.repeat(32), '1'.repeat(32), '2'.repeat(32)].map((id) => join(tmp, `treeline-push-${id}`));
  for (const stray of strays) mkdirSync(stray);
  writeFileSync(join(strays[1]!, 'session'), '{"version":1,"owner":');
  writeFileSync(join(strays[2]!, 'session'), readFileSync(join(folder('young'), 'session')));
  const long = (now - 30 * HOUR_MS) / 1000;
  utimesSync(join(folder('third'), 'session'), long, long);
  const second = await PushReceiver.open(repo, { now: () => now });
  t.after(() => second.close());
  assert.deepEqual(
    strays.map((stray) => existsSync(stray)),
    [false, false, false],
  );
  assert.deepEqual([existsSync(folder('young')), existsSync(folder('third'))], [true, false]);
  await second.missing(sessionId(identity('young')), 'me', []);
});

test('what a power failure has damaged in a push is hashed again before it counts', async (t) => {
  const base = scratchFolder(t);
  const { path, commit } = libostreeRepo(base);
  const { repo, receiver, close } = await receivingServer(t, base);
  const pieces = await piecesOf(await openRepo(path), commit);
  const { id } = await receiver.open({ owner: 'me', ref: 'main', commit });
  await receiver.receive(id, 'me', stream(await packOf(pieces)));
  await close();
  const session = join(repo.path, 'tmp', `treeline-push-${id}`);
  const files = (readdirSync(session, { recursive: true }) as string[]).filter((name) => name.endsWith('.filez'));
  writeFileSync(join(session, files[0]!), '');
  writeFileSync(join(session, files[1]!), Buffer.alloc(statSync(join(session, files[1]!)).size));
  const count = async (boot: string) => {
    writeFileSync(
      join(session, 'session'),
      readFileSync(join(session, 'session'), 'utf8').replace(/"boot":"[^"]*"/, `"boot":"${boot}"`),
    );
    const again = await PushReceiver.open(repo);
    const states = await again.missing(id, 'me', pieces);
    await again.close();
    return states.filter((state) => state === 'missing').length;
  };
  assert.equal(await count('another start of the machine'), 2);
  assert.equal(
    JSON.parse(readFileSync(join(session, 'session'), 'utf8')).boot === 'another start of the machine',
    false,
  );
});

test('what a prune takes away between asking and finishing is sent after all', async (t) => {
  const base = scratchFolder(t);
  const { path, folder } = libostreeRepo(base);
  writeFileSync(join(folder, 'new'), 'new');
  ostree(`--repo=${path}`, 'commit', '-b', 'next', '--canonical-permissions', folder);
  let taken: string[] = [];
  const { url, repo, requests } = await receivingServer(t, base, {
    before(request) {
      if (!request.url?.endsWith('/finish') || taken.length > 0 || !armed) return true;
      const all = objectsIn(repo).filter((name) => name.startsWith('objects/'));
      taken = all.filter((name) => name.endsWith('.filez')).slice(0, 5);
      taken.push(all.find((name) => name.endsWith('.dirtree'))!);
      for (const name of taken) rmSync(join(repo.path, name));
      return true;
    },
  });
  let armed = false;
  const sender = await openRepo(path);
  await push(sender, url, { ref: 'main' });
  await setRef(repo, 'main', null);
  // Nobody's any more: gone with the next prune.
  rmSync(objectPath(repo, 'commit', (await readRef(sender, 'main'))!));
  armed = true;
  requests.length = 0;
  await push(sender, url, { ref: 'next' });
  assert.equal(taken.length, 6);
  assert.ok(requests.filter((one) => one.endsWith('/finish')).length >= 2);
  ostree(`--repo=${repo.path}`, 'fsck');
});

test('prunes in a loop neither fail pushes nor take anything of them', async (t) => {
  const base = scratchFolder(t);
  const { path, folder } = libostreeRepo(base);
  const { url, repo } = await receivingServer(t, base);
  const sender = await openRepo(path);
  let pruning = true;
  let prunes = 0;
  const pruner = (async () => {
    while (pruning) {
      await prune(repo, { refsOnly: true, depth: 0 });
      prunes++;
    }
  })();
  try {
    for (let index = 0; index < 8; index++) {
      for (let file = 0; file < 30; file++) writeFileSync(join(folder, `etc/f${file}`), `${index} ${file % 7}`);
      ostree(`--repo=${path}`, 'commit', '-b', `b${index % 3}`, '--canonical-permissions', folder);
      await push(sender, url, { ref: `b${index % 3}` });
    }
  } finally {
    pruning = false;
    await pruner;
  }
  assert.ok(prunes > 3, `${prunes} prunes`);
  ostree(`--repo=${repo.path}`, 'fsck');
  for (const ref of ['b0', 'b1', 'b2']) assert.equal(await readRef(repo, ref), await readRef(sender, ref));
});

test('only an archive is pushed to', async (t) => {
  const repo = await createRepo(join(scratchFolder(t), 'store'), { mode: 'bare-user' });
  await assert.rejects(PushReceiver.open(repo), { code: 'unsupported' });
});

test('hostile bytes at every endpoint get an answer that says so, and change nothing', async (t) => {
  const base = scratchFolder(t);
  const { path, commit } = libostreeRepo(base);
  const { url, repo, receiver } = await receivingServer(t, base);
  const pack = await packOf((await piecesOf(await openRepo(path), commit)).filter(({ data }) => data.length < 3000));
  const { id } = await receiver.open({ owner: 'somebody', ref: 'main', commit });
  const call = async (method: string, at: string, body?: string | Buffer<ArrayBuffer>) => {
    const answer = await fetch(url + at, { method, ...(body === undefined ? {} : { body }) });
    const text = await answer.text();
    // 507: a size that is larger than what a push may stage.
    assert.ok([200, 204, 400, 404, 409, 422, 507].includes(answer.status), `${method} ${at}: ${answer.status} ${text}`);
    if (answer.status >= 400) {
      const { error } = JSON.parse(text) as { error: { code: string; message: string } };
      assert.ok(error.code.length > 0 && error.message.length > 0);
      assert.ok(!text.includes(base), text);
    }
    return answer.status;
  };
  const json: [string, string, number][] = [
    ['open', '', 400],
    ['open', '[]', 400],
    ['open', `{"ref":"../../etc/passwd","commit":"${commit}"}`, 400],
    ['open', '{"ref":"a","commit":"ABC"}', 400],
    ['open', '{"ref":{"toString":1},"commit":null}', 400],
    ['open', `{"ref":"${'x'.repeat(2000)}","commit":"${commit}"}`, 400],
    ['open', 'x'.repeat(300_000), 400],
    [`${id}/finish`, '{}', 400],
    [`${id}/finish`, '{"expect":"../x"}', 400],
    [`${id}/finish`, '{"expect":null,"force":"yes"}', 400],
    [`${id}/finish`, '{"expect":null,"also":[1]}', 400],
    [`${id}/finish`, `{"expect":null,"also":["${'a'.repeat(64)}"]}`, 200],
    [`${'f'.repeat(32)}/finish`, '{"expect":null}', 404],
    [`${id}/nothing`, '', 404],
    [`${id}/missing`, 'odd length', 400],
    [`${id}/pack`, '', 422],
    [`${id}/pack`, 'ostpack1', 422],
  ];
  for (const [at, body, status] of json)
    assert.equal(await call('POST', at, body), status, `${at} ${body.slice(0, 80)}`);
  assert.equal(await call('GET', id), 404);
  assert.equal(await call('PUT', `${id}/pack`, 'x'), 404);
  assert.equal(await call('POST', `${id}/missing`, Buffer.alloc(33 * 70_000, 4)), 400);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(pack.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 }),
      async (changes) => {
        const copy = Buffer.from(pack);
        for (const [at, value] of changes) copy[at] = value;
        await call('POST', `${id}/pack`, copy);
      },
    ),
    { numRuns: 60 },
  );
  // Whatever counts as received is what its name says.
  ostree(`--repo=${repo.path}`, 'fsck');
  assert.equal(await readRef(repo, 'main'), null);
  await receiver.abandon(id, 'somebody');
  await push(await openRepo(path), url, { ref: 'main' });
  ostree(`--repo=${repo.path}`, 'fsck');
});

test('a sender whose connection is cut in the middle of a pack leaves only what is whole', async (t) => {
  const base = scratchFolder(t);
  const { path, commit } = libostreeRepo(base);
  const { url, repo, receiver } = await receivingServer(t, base);
  const pieces = await piecesOf(await openRepo(path), commit);
  pieces.sort((a, b) => a.data.length - b.data.length); // the cut is in the last one
  const { id } = await receiver.open({ owner: 'somebody', ref: 'main', commit });
  const bytes = await packOf(pieces);
  const controller = new AbortController();
  const body = new ReadableStream<Uint8Array>({
    start(stream) {
      stream.enqueue(bytes.subarray(0, Math.floor(bytes.length * 0.7)));
    },
  });
  const cut = fetch(`${url}${id}/pack`, {
    method: 'POST',
    body,
    duplex: 'half',
    signal: controller.signal,
  });
  cut.catch(() => {});
  const received = async () =>
    (await receiver.missing(id, 'somebody', pieces)).filter((state) => state === 'received').length;
  await until(async () => (await received()) >= 10, 'ten objects there');
  controller.abort();
  await assert.rejects(cut);
  const files = objectsIn(repo);
  assert.ok(files.length >= 10);
  // As if they were in a repository: the stock tool finds no fault with any of them.
  const stats = await push(await openRepo(path), url, { ref: 'main', headers: { 'x-caller': 'somebody' } });
  assert.ok(stats.objects < pieces.length);
  ostree(`--repo=${repo.path}`, 'fsck');
});
