import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { metadataValue, openRepo, readCommit, setRef } from '@treeline/ostree';
import type { CommitInfo, ErrorBody, Publication } from '../api/schema.ts';
import { openDatabase } from '../database/open.ts';
import { scratch } from '../testing/scratch.ts';
import { startTestServer } from '../testing/server.ts';

const ostree = (...args: string[]) => execFileSync('ostree', args, { encoding: 'utf8', stdio: 'pipe' }).trim();

/** A server whose store has a commit that the stock `ostree commit` has bound to the ref `feature`. */
async function setUp(t: TestContext, ...commitOptions: string[]) {
  const server = await startTestServer(t);
  const folder = scratch(t);
  const [own, store] = [join(folder, 'own'), join(server.dataDir, 'store')];
  ostree(`--repo=${own}`, 'init', '--mode=archive');
  const commit = (text: string, ...more: string[]): string => {
    execFileSync('mkdir', ['-p', join(folder, 'tree/usr')]);
    writeFileSync(join(folder, 'tree/usr/version'), text);
    const rev = ostree(`--repo=${own}`, 'commit', '-b', 'feature', ...commitOptions, ...more, join(folder, 'tree'));
    ostree(`--repo=${store}`, 'pull-local', own, rev);
    return rev;
  };
  const publish = async (body: object) => {
    const { status, body: answer } = await server.call('POST', '/publish', body);
    return { status, answer: answer as Publication & ErrorBody };
  };
  const pull = async (channel: string): Promise<string> => {
    const client = join(folder, `client-${channel.replaceAll('/', '-')}`);
    ostree(`--repo=${client}`, 'init', '--mode=archive');
    ostree(`--repo=${client}`, 'remote', 'add', '--no-gpg-verify', 'line', `${server.url}/repos/public`);
    // Not waiting for it in this thread: the server is in it.
    await promisify(execFile)('ostree', [`--repo=${client}`, 'pull', 'line', channel]);
    ostree(`--repo=${client}`, 'fsck', '--quiet');
    return ostree(`--repo=${client}`, 'rev-parse', `line:${channel}`);
  };
  return { server, store, commit, publish, pull };
}

test('a commit that was made for another ref is refused, as a stock client would refuse it', async (t) => {
  const { server, commit, publish, pull } = await setUp(t);
  const bound = commit('1');
  const { status, answer } = await publish({ commit: bound, channel: 'robot/edge' });
  assert.equal(status, 422);
  assert.equal(
    answer.error.message,
    `${bound} cannot be published on public:robot/edge: it was made for feature (ostree.ref-binding), ` +
      'and clients refuse it as robot/edge',
  );
  assert.match(answer.error.hint ?? '', /--rebind/);
  assert.deepEqual((await server.get<{ releases: unknown[] }>('/releases')).releases, []);
  // The reason: what the client says when it is there all the same.
  const path = join(server.dataDir, 'repos/public');
  ostree(`--repo=${path}`, 'pull-local', join(server.dataDir, 'store'), bound);
  await setRef(await openRepo(path), 'robot/forced', bound);
  ostree(`--repo=${path}`, 'summary', '-u');
  await assert.rejects(pull('robot/forced'), /has no requested ref ‘robot\/forced’/);
});

test('where it was made for the channels it is published as it is', async (t) => {
  const { commit, publish, pull } = await setUp(t, '--bind-ref=robot/edge', '--bind-ref=robot/stable');
  const bound = commit('1');
  const items = ['robot/edge', 'robot/stable', 'feature'].map((channel) => ({ commit: bound, channel }));
  assert.equal((await publish({ items, rebind: true })).status, 200);
  for (const { channel } of items) assert.equal(await pull(channel), bound);
});

test('rebound it is another commit of the same tree, which stock clients take; the first one stays what it was', async (t) => {
  const { server, store, commit, publish, pull } = await setUp(t, '--add-metadata-string=team=robots');
  const parent = commit('1');
  const bound = commit('2', `--parent=${parent}`);
  await server.post('/labels', { commit: parent, label: 'internal', reason: 'not yet' });
  const items = [
    { commit: bound, channel: 'robot/edge' },
    { commit: bound, channel: 'robot/canary' },
  ];
  // What it was made from counts.
  const refused = await publish({ items, rebind: true });
  assert.match(refused.answer.error.message, /public does not admit .* <- commit .*\(internal\)/);
  const { status } = await server.call('POST', '/labels/remove', { commit: parent, label: 'internal', reason: 'now' });
  assert.equal(status, 200);

  const { answer } = await publish({ items, rebind: true });
  assert.equal(answer.state, 'published', JSON.stringify(answer));
  const made = answer.releases[0]!.commit;
  assert.notEqual(made, bound);
  for (const { channel } of items) assert.equal(await pull(channel), made);
  const repo = await openRepo(store);
  const [before, after] = [await readCommit(repo, bound), await readCommit(repo, made)];
  assert.deepEqual(
    [after.tree, after.parent, after.subject, after.timestamp],
    [before.tree, parent, before.subject, before.timestamp],
  );
  assert.deepEqual(metadataValue(after.metadata, 'ostree.ref-binding')?.value, ['robot/canary', 'robot/edge']);
  assert.equal(metadataValue(after.metadata, 'team')?.value, 'robots');
  assert.equal(metadataValue(after.metadata, 'treeline.rebound-from')?.value, bound);
  ostree(`--repo=${store}`, 'fsck', '--quiet');

  // The same again is the same commit; a single one of the channels needs no other.
  const again = await publish({ items, rebind: true });
  assert.equal(again.answer.releases[0]!.commit, made);
  assert.equal((await publish({ commit: made, channel: 'robot/edge' })).status, 200);
  const db = await openDatabase(`sqlite:${join(server.dataDir, 'treeline.db')}`);
  const audit = await db.selectFrom('audit').select('data').where('action', '=', 'release.publish').execute();
  await db.destroy();
  assert.ok(audit.some(({ data }) => (JSON.parse(data) as { reboundFrom?: string }).reboundFrom === bound));
});

test('what a label says of the first commit counts for the rebound one', async (t) => {
  const { server, commit, publish } = await setUp(t);
  const bound = commit('1');
  const { answer } = await publish({ items: [{ commit: bound, channel: 'robot/edge' }], rebind: true });
  const made = answer.releases[0]!.commit;
  await server.post('/labels', { commit: bound, label: 'restricted:nda', reason: 'found out' });
  const info = await server.get<CommitInfo>(`/commits/${made}`);
  assert.ok(info.labels.some(({ label }) => label === 'restricted:nda'));
});

test('rebinding mends a channel that has the commit under the wrong name already', async (t) => {
  const { server, commit, publish, pull } = await setUp(t);
  const bound = commit('1');
  // As an earlier version did it.
  const db = await openDatabase(`sqlite:${join(server.dataDir, 'treeline.db')}`);
  await publish({ items: [{ commit: bound, channel: 'feature' }] });
  await db.updateTable('releases').set({ channel: 'robot/edge' }).execute();
  await db.destroy();
  const { answer } = await publish({ items: [{ commit: bound, channel: 'robot/edge' }], rebind: true });
  const { commit: made } = answer.releases[0]!;
  assert.notEqual(made, bound);
  assert.equal(await pull('robot/edge'), made);
});

test('of a collection, a commit for another one is refused, and rebound it is of this one', async (t) => {
  const { server, commit, publish } = await setUp(
    t,
    '--bind-ref=robot/edge',
    '--add-metadata-string=ostree.collection-binding=org.example.Other',
  );
  const bound = commit('1');
  assert.equal((await publish({ commit: bound, channel: 'robot/edge' })).status, 200);
  const path = join(server.dataDir, 'repos/public');
  ostree(`--repo=${path}`, 'config', 'set', 'core.collection-id', 'org.example.Robots');
  const { answer } = await publish({ commit: bound, channel: 'robot/edge' });
  assert.match(
    answer.error.message,
    /made for the collection org\.example\.Other .* refuse it in org\.example\.Robots/,
  );
  const { answer: rebound } = await publish({ items: [{ commit: bound, channel: 'robot/edge' }], rebind: true });
  const { metadata } = await readCommit(await openRepo(path), rebound.releases[0]!.commit);
  assert.equal(metadataValue(metadata, 'ostree.collection-binding')?.value, 'org.example.Robots');
});
