import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { encode } from '../gvariant/encode.ts';
import { objectPath, readCommit, readDetachedMetadata } from '../repo/objects.ts';
import { readRef, setRef } from '../repo/refs.ts';
import { openRepo } from '../repo/repo.ts';
import { receivingServer } from '../testing/push.ts';
import { libostreeRepo, noise, writeSampleFolder } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { isRoot } from '../testing/versions.ts';
import type { PushConflict } from './conflict.ts';
import { type PushProgress, push } from './push.ts';

for (const mode of ['archive', 'bare', 'bare-user', 'bare-user-only'] as const) {
  const skip = mode === 'bare' && !isRoot ? 'a bare repository needs root' : false;
  test(`what stock ostree committed to a repository of mode ${mode} arrives with its checksum`, { skip }, async (t) => {
    const base = scratchFolder(t);
    const [path, folder] = [join(base, 'theirs'), join(base, 'folder')];
    writeSampleFolder(folder);
    writeFileSync(join(folder, 'huge'), noise(12_000_000, 3)); // sent in pieces, compressed in pieces
    ostree(`--repo=${path}`, 'init', `--mode=${mode}`);
    const commit = ostree(`--repo=${path}`, 'commit', '-b', 'os/main', '--canonical-permissions', folder);
    const { url, repo, receiver } = await receivingServer(t, base);
    const progress: PushProgress[] = [];
    const stats = await push(await openRepo(path), url, { ref: 'os/main', onProgress: (one) => progress.push(one) });
    assert.equal(stats.commit, commit);
    assert.equal(stats.from, null);
    assert.equal(await readRef(repo, 'os/main'), commit);
    ostree(`--repo=${repo.path}`, 'fsck');
    const list = (from: string) => ostree(`--repo=${from}`, 'ls', '-R', '-C', 'os/main');
    assert.equal(list(repo.path), list(path));
    // Nothing is left but what others keep there, and the file that finishing takes turns with.
    assert.deepEqual(readdirSync(join(repo.path, 'tmp')).sort(), ['cache', 'treeline-push.lock']);
    assert.equal(receiver.stagedBytes, 0);
    const last = progress.at(-1)!;
    assert.equal(last.objects, stats.objects);
    assert.equal(last.objectsKnown, stats.objects);
    assert.ok(progress.some(({ phase }) => phase === 'sending'));
    // And back to a stock client.
    const back = join(base, 'back');
    ostree(`--repo=${back}`, 'init', '--mode=archive');
    ostree(`--repo=${back}`, 'pull-local', '--untrusted', repo.path, 'os/main');
    assert.equal(ostree(`--repo=${back}`, 'rev-parse', 'os/main'), commit);
  });
}

test('of a change only what is new is sent, in a few requests', async (t) => {
  const base = scratchFolder(t);
  const { path, folder, commit } = libostreeRepo(base);
  const { url, requests } = await receivingServer(t, base);
  const repo = await openRepo(path);
  const first = await push(repo, url, { ref: 'main' });
  assert.ok(first.objects > 80);
  requests.length = 0;
  for (let index = 0; index < 20; index++)
    writeFileSync(join(folder, `usr/share/doc/p3/new${index}`), `new ${index}\n`);
  const next = ostree(`--repo=${path}`, 'commit', '-b', 'main', '--canonical-permissions', folder);
  const dry = await push(repo, url, { ref: 'main', dryRun: true });
  // 20 files; the folder p3 and those above it: doc, share, usr, root; the commit.
  assert.equal(dry.objects, 26);
  assert.equal(dry.from, commit);
  requests.length = 0;
  const stats = await push(repo, url, { ref: 'main' });
  assert.equal(stats.objects, 26);
  assert.equal(stats.bytes! > dry.bytes! && stats.bytes! < dry.bytes! + 26 * 57 + 200, true);
  assert.equal(stats.requests, requests.length);
  assert.ok(requests.length <= 12, requests.join('\n'));
  assert.equal(stats.from, commit);
  assert.equal(stats.commit, next);
  requests.length = 0;
  const again = await push(repo, url, { ref: 'main' });
  assert.equal(again.upToDate, true);
  assert.equal(requests.length, 2);
  // Under another name everything is there already, whatever the sender knows of the receiver.
  const other = await push(repo, url, { ref: 'other', rev: 'main' });
  assert.equal(other.objects, 0);
});

test('a ref is moved from what the sender knows, and from nothing else unless forced', async (t) => {
  const base = scratchFolder(t);
  const { path, folder, commit } = libostreeRepo(base);
  const repo = await openRepo(path);
  const { url, repo: store } = await receivingServer(t, base);
  await push(repo, url, { ref: 'main' });
  // Somebody else begins anew, without a parent.
  writeFileSync(join(folder, 'own'), 'own');
  const orphan = ostree(`--repo=${path}`, 'commit', '-b', 'mine', '--orphan', '--canonical-permissions', folder);
  await setRef(repo, 'mine', orphan);
  const refused = (current: string | null) => (error: PushConflict) => {
    assert.equal(error.code, 'conflict');
    assert.equal(error.current, current);
    return true;
  };
  await assert.rejects(push(repo, url, { ref: 'main', rev: orphan }), refused(commit));
  await assert.rejects(push(repo, url, { ref: 'main', rev: orphan, expect: null }), refused(commit));
  await assert.rejects(push(repo, url, { ref: 'main', rev: orphan, expect: orphan }), refused(commit));
  await assert.rejects(push(repo, url, { ref: 'fresh', rev: orphan, expect: commit }), refused(null));
  assert.equal(await readRef(store, 'main'), commit);
  assert.equal(existsSync(objectPath(store, 'commit', orphan)), false);
  // What was named, or seen, may be replaced.
  assert.equal((await push(repo, url, { ref: 'main', rev: orphan, expect: commit })).from, commit);
  assert.equal((await push(repo, url, { ref: 'main', rev: commit, lastSeen: orphan })).from, orphan);
  assert.equal((await push(repo, url, { ref: 'main', rev: orphan, force: true })).from, commit);
  assert.equal(await readRef(store, 'main'), orphan);
  const headers = { 'x-may-not': 'force' };
  await assert.rejects(push(repo, url, { ref: 'main', rev: commit, force: true, headers }), { code: 'forbidden' });
  await assert.rejects(push(repo, url, { ref: 'x', rev: commit, headers: { 'x-may-not': 'push' } }), {
    code: 'forbidden',
  });
  assert.equal(await readRef(store, 'main'), orphan);
});

test('of two who push to one ref at the same time one wins, and the other hears what is there', async (t) => {
  const base = scratchFolder(t);
  const { path, folder, commit } = libostreeRepo(base);
  const repo = await openRepo(path);
  const { url, repo: store } = await receivingServer(t, base);
  await push(repo, url, { ref: 'main' });
  const rivals: string[] = [];
  for (let index = 0; index < 6; index++) {
    writeFileSync(join(folder, 'which'), `${index}`);
    const args = ['commit', '-b', `r${index}`, `--parent=${commit}`, '--canonical-permissions', folder];
    rivals.push(ostree(`--repo=${path}`, ...args));
  }
  const results = await Promise.allSettled(
    rivals.map((rev, index) => push(repo, url, { ref: 'main', rev, headers: { 'x-caller': `caller ${index}` } })),
  );
  const won = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value.commit] : []));
  assert.equal(won.length, 1);
  assert.equal(await readRef(store, 'main'), won[0]);
  for (const one of results) {
    if (one.status === 'rejected') assert.equal((one.reason as PushConflict).current, won[0]);
  }
  ostree(`--repo=${store.path}`, 'fsck');
});

test('signatures travel with the commit, and those that are there stay', async (t) => {
  const base = scratchFolder(t);
  const { path, commit } = libostreeRepo(base);
  const repo = await openRepo(path);
  const { url, repo: store } = await receivingServer(t, base);
  const key = 'ostree.sign.ed25519';
  const sign = (at: string, byte: number, extra: string) =>
    writeFileSync(
      at,
      encode('a{sv}', [
        [key, { type: 'aay', value: [Buffer.alloc(64, byte)] }],
        ['note', { type: 's', value: extra }],
      ]),
    );
  sign(objectPath(repo, 'commitmeta', commit), 1, 'mine');
  await push(repo, url, { ref: 'main' });
  const read = async () =>
    new Map((await readDetachedMetadata(store, commit))!.map(([name, { value }]) => [name, value]));
  assert.deepEqual((await read()).get(key), [Buffer.alloc(64, 1)]);
  // Another signature at each end.
  sign(objectPath(store, 'commitmeta', commit), 2, 'theirs');
  await push(repo, url, { ref: 'main' });
  assert.deepEqual((await read()).get(key), [Buffer.alloc(64, 2), Buffer.alloc(64, 1)]);
  assert.equal((await read()).get('note'), 'theirs');
  await push(repo, url, { ref: 'main', force: true });
  assert.equal((await read()).get('note'), 'mine');
  assert.equal(((await read()).get(key) as unknown[]).length, 2);
  ostree(`--repo=${store.path}`, 'fsck');
});

test('with a depth parents come along', async (t) => {
  const base = scratchFolder(t);
  const { path, folder, commit } = libostreeRepo(base);
  writeFileSync(join(folder, 'a'), 'a');
  const second = ostree(`--repo=${path}`, 'commit', '-b', 'main', '--canonical-permissions', folder);
  symlinkSync('a', join(folder, 'b'));
  const third = ostree(`--repo=${path}`, 'commit', '-b', 'main', '--canonical-permissions', folder);
  const repo = await openRepo(path);
  const { url, repo: store } = await receivingServer(t, base);
  await push(repo, url, { ref: 'main', depth: 1 });
  const there = (one: string) => existsSync(objectPath(store, 'commit', one));
  assert.deepEqual([third, second, commit].map(there), [true, true, false]);
  await push(repo, url, { ref: 'deep', rev: 'main', depth: -1 });
  assert.deepEqual([third, second, commit].map(there), [true, true, true]);
  assert.equal((await readCommit(store, third)).parent, second);
  ostree(`--repo=${store.path}`, 'fsck', '-a');
});

test('a commit that is not whole here is not pushed', async (t) => {
  const base = scratchFolder(t);
  const { path } = libostreeRepo(base);
  const repo = await openRepo(path);
  const { url, repo: store } = await receivingServer(t, base);
  const tree = (await readCommit(repo, (await readRef(repo, 'main'))!)).tree;
  rmSync(objectPath(repo, 'dirtree', tree.contents));
  await assert.rejects(push(repo, url, { ref: 'main' }), (error: Error & { code: string }) => {
    assert.equal(error.code, 'not-found');
    assert.match(error.message, new RegExp(tree.contents));
    return true;
  });
  await assert.rejects(push(repo, url, { ref: 'nowhere' }), { code: 'not-found' });
  assert.equal(await readRef(store, 'main'), null);
});

test('what is damaged here is refused there, by name', async (t) => {
  const base = scratchFolder(t);
  const { path } = libostreeRepo(base);
  const repo = await openRepo(path);
  const { url, repo: store } = await receivingServer(t, base);
  const objects = readdirSync(join(path, 'objects'), { recursive: true }) as string[];
  const victim = objects.find((name) => name.endsWith('.filez'))!;
  const data = readFileSync(join(path, 'objects', victim));
  data[data.length - 1]! ^= 1;
  rmSync(join(path, 'objects', victim));
  writeFileSync(join(path, 'objects', victim), data);
  await assert.rejects(push(repo, url, { ref: 'main' }), (error: Error & { code: string }) => {
    assert.equal(error.code, 'corrupt');
    assert.match(error.message, new RegExp(victim.slice(3, 60)));
    return true;
  });
  assert.equal(await readRef(store, 'main'), null);
  assert.equal(existsSync(join(store.path, 'objects', victim)), false);
});
