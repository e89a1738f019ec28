import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openRepo, withTransaction, writeCommit } from '@treeline/ostree';
import type { CommitInfo, Run, RunDetail } from '../api/schema.ts';
import { namedInStore } from '../retention/store-names.ts';
import { createTestCore } from '../testing/core.ts';
import { createGitRepository, type GitRepository } from '../testing/git-repository.ts';
import { scratch } from '../testing/scratch.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';
import { type BuiltInMakers, createBuiltIns } from './built-ins.ts';
import { BUILT_IN, builtInRef } from './note.ts';

const SYSTEM = `
jobs:
  system:
    compose:
      - { tree: treeline/boot, from: /grub }
      - { tree: treeline/agent, at: /opt }
publish: [{ artifact: system, channel: robot/edge }]
`;

/** Makers that count, and make what `version` says. */
function makers(version = '1'): { makers: BuiltInMakers; made: string[] } {
  const made: string[] = [];
  const maker = (name: string, path: string) => async (folder: string) => {
    made.push(name);
    mkdirSync(join(folder, path), { recursive: true });
    writeFileSync(join(folder, path, 'version'), `${name} ${version}`);
  };
  return { made, makers: { agent: maker('agent', 'usr'), boot: maker('boot', 'grub/usr') } };
}

async function serve(
  t: TestContext,
  o: { dataDir?: string; builtIns: BuiltInMakers; git?: GitRepository; label?: string },
): Promise<{ server: TestServer; git: GitRepository; dataDir: string }> {
  const dataDir = o.dataDir ?? join(scratch(t), 'data');
  const git = o.git ?? createGitRepository(join(scratch(t), 'system'));
  if (!o.git) git.commit('Compose', { 'treeline.yaml': SYSTEM });
  const server = await startTestServer(t, { dataDir, defaultLabel: o.label ?? 'public' }, o.builtIns);
  if (!o.git) await server.addProject('system', git.path);
  return { server, git, dataDir };
}

async function push(server: TestServer): Promise<RunDetail> {
  const { id } = await server.post<Run>('/runs');
  return await server.runEnd(id);
}

test('a system is composed with what comes with Treeline, and says with what', async (t) => {
  const { makers: builtIns, made } = makers();
  const { server } = await serve(t, { builtIns });
  assert.deepEqual(made, [], 'nobody has asked for one');
  const run = await push(server);
  assert.equal(run.state, 'passed', JSON.stringify(run));
  assert.deepEqual(new Set(made), new Set(['agent', 'boot']));

  const system = await server.get<CommitInfo>('/commits/system%2Fsystem');
  const boot = await server.get<CommitInfo>('/commits/treeline%2Fboot');
  assert.deepEqual(
    system.provenance?.inputs.map(({ name, commit }) => [name, commit === boot.commit]),
    [
      ['treeline/boot', true],
      ['treeline/agent', false],
    ],
  );
  assert.equal(boot.kind, 'built-in');
  assert.equal(boot.builtIn?.artifact, 'boot');
  assert.match(boot.builtIn?.version ?? '', /^\d+\.\d+\.\d+/);
  assert.deepEqual(
    boot.labels.map(({ label, reason }) => [label, reason]),
    [['public', `it comes with Treeline ${boot.builtIn?.version}`]],
  );
  assert.deepEqual(made.length, 2, 'each is made once');
});

test('a new version of Treeline makes systems anew, the same one does not, and what is old stays known', async (t) => {
  const first = await serve(t, { builtIns: makers('1').makers });
  await push(first.server);
  const one = await first.server.get<CommitInfo>('/commits/system%2Fsystem');
  const agent = await first.server.get<CommitInfo>('/commits/treeline%2Fagent');
  await first.server.close();

  const same = await serve(t, { ...first, builtIns: makers('1').makers });
  const again = await push(same.server);
  assert.deepEqual(
    again.jobs.map(({ reused }) => reused),
    [true],
  );
  assert.equal((await same.server.get<CommitInfo>('/commits/treeline%2Fagent')).commit, agent.commit);
  await same.server.close();

  const next = await serve(t, { ...first, builtIns: makers('2').makers });
  await push(next.server);
  const two = await next.server.get<CommitInfo>('/commits/system%2Fsystem');
  assert.notEqual(two.commit, one.commit);
  assert.equal((await next.server.get<CommitInfo>(`/commits/${agent.commit}`)).builtIn?.artifact, 'agent');
});

test('it may be published where only public things may, whatever others are by default', async (t) => {
  const { server } = await serve(t, { builtIns: makers().makers, label: 'internal' });
  await push(server);
  const { labels } = await server.get<CommitInfo>('/commits/treeline%2Fagent');
  assert.deepEqual(
    labels.map(({ label }) => label),
    ['public'],
  );
});

test('what cannot be made fails the run with the reason, and is tried again with the next one', async (t) => {
  const { makers: builtIns } = makers();
  let broken = true;
  const agent = async (folder: string) => {
    if (broken) throw new Error('the disk is full');
    await builtIns.agent?.(folder);
  };
  const { server } = await serve(t, { builtIns: { ...builtIns, agent } });
  const failed = await push(server);
  assert.equal(failed.state, 'failed');
  assert.match(JSON.stringify(failed), /treeline\/agent cannot be made: the disk is full/);
  broken = false;
  assert.equal((await push(server)).state, 'passed');
});

test('nobody can take the name: no project, no pushed commit', async (t) => {
  const { server } = await serve(t, { builtIns: makers().makers });
  const { status, body } = await server.call('POST', '/projects', { name: 'treeline', url: '/nowhere', run: false });
  assert.equal(status, 400);
  assert.match(JSON.stringify(body), /"treeline\\" is taken.*treeline\/agent/);

  const core = await createTestCore(t, {}, makers().makers);
  const { tree } = await core.builtIns.get('agent');
  const note = { type: 's', value: JSON.stringify({ artifact: 'agent', version: '9' }) } as const;
  const store = await openRepo(core.folder.store);
  const forged = await withTransaction(store, (tx) =>
    writeCommit(tx, { tree, subject: 'treeline/agent', metadata: [[BUILT_IN, note]] }),
  );
  const origins = await core.origins.read(forged);
  assert.equal(origins?.made, false);
  assert.match(origins?.name ?? '', /^treeline\/agent \(says commit/);
  assert.equal(builtInRef('agent', tree), `built-in/agent/${tree.contents}/${tree.meta}`);
});

test('it stays in the store while a server may hand it out, though no result names it', async (t) => {
  const core = await createTestCore(t, {}, makers().makers);
  const { commit } = await core.builtIns.get('agent');
  const facts = { commits: new Set([commit]), origins: new Map(), usedSince: Date.now() };
  const { kept, unusedRefs } = await namedInStore(core, facts);
  assert.deepEqual([kept.get(commit), unusedRefs.size], ['ref', 0]);
  // A server of another version does not.
  const other = await namedInStore({ ...core, builtIns: createBuiltIns(core, {}) }, facts);
  assert.deepEqual([other.kept.size, other.unusedRefs.size], [0, 1]);
});
