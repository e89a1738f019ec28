import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import {
  addRemote,
  createRepo,
  listDeltas,
  listRefs,
  openRepo,
  pull,
  type Repo,
  withTransaction,
  writeCommit,
} from '@treeline/ostree';
import { until } from '@treeline/ostree/testing/until.ts';
import type { MadeKey, Publication, Release, Repository } from '../api/schema.ts';
import type { RunningServer } from '../server.ts';
import type { SettingsFragment } from '../settings.ts';
import { ostree } from '../testing/publishing.ts';
import { storeFiles } from '../testing/runner.ts';
import { scratch } from '../testing/scratch.ts';
import { connect, type TestServer } from '../testing/server.ts';

const LIVES = 8;

interface Life {
  child: ChildProcess;
  api: TestServer;
}

async function live(t: TestContext, settings: SettingsFragment): Promise<Life> {
  const program = new URL('../testing/server-process.ts', import.meta.url).pathname;
  const child = fork(program, [JSON.stringify(settings)], {
    env: { ...process.env, NODE_COMPILE_CACHE: `${settings.dataDir}-compile-cache` },
  });
  t.after(() => child.kill('SIGKILL'));
  const first = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  assert.equal(typeof first[0], 'object', 'the server did not start');
  return { child, api: connect(first[0] as RunningServer, settings.dataDir!) };
}

async function kill(child: ChildProcess): Promise<void> {
  assert.equal(child.exitCode, null, 'the server has ended by itself');
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

test('kill -9 while publications are made: what was acknowledged is there, what was decided comes, nothing is left over', async (t) => {
  const folder = scratch(t);
  const dataDir = `${folder}/data`;
  const settings: SettingsFragment = {
    ...{ dataDir, port: 0, gatewayPort: 0, runner: false, pollSeconds: 3600, logLevel: 'silent' },
  };
  let { child, api } = await live(t, settings);
  const { publicKey } = await api.post<MadeKey>('/signing-keys', { name: 'release' });
  const signing = [{ type: 'ed25519', file: 'release' }];
  await api.call('PATCH', '/repositories/public', { signing, summaryGrace: 0.05, deltas: { previous: 2 } });
  const commitOf = async (text: string): Promise<string> => {
    const tree = await storeFiles(dataDir, { text: `${'the same\n'.repeat(3000)}${text}`, [`only-${text}`]: text });
    return await withTransaction(await openRepo(join(dataDir, 'store')), (tx) =>
      writeCommit(tx, { tree, subject: text }),
    );
  };

  let acknowledged = '';
  for (let life = 1; life <= LIVES; life += 1) {
    const commits = [await commitOf(`${life}a`), await commitOf(`${life}b`)];
    let dead = false;
    const killing = setTimeout(Math.random() * 1500).then(() => {
      dead = true;
      return kill(child);
    });
    for (const commit of commits) {
      const items = ['robot/edge', 'robot/stable'].map((channel) => ({ commit, channel }));
      const answer = await api.post<Publication>('/publish', { items }).catch((error: unknown) => {
        if (!dead) throw error;
        return null;
      });
      if (answer?.state === 'published') acknowledged = commit;
    }
    await killing;
    ({ child, api } = await live(t, settings));
    if (acknowledged === '') continue;
    const { repositories } = await api.get<{ repositories: Repository[] }>('/repositories');
    const heads = repositories.find(({ name }) => name === 'public')!.channels.map(({ commit }) => commit);
    const { releases } = await api.get<{ releases: Release[] }>('/releases?limit=1000');
    const numbers = releases.filter(({ commit }) => heads.includes(commit)).map(({ number }) => number);
    const mine = releases.filter(({ commit }) => commit === acknowledged).map(({ number }) => number);
    assert.ok(Math.max(...numbers) >= Math.max(...mine), 'an acknowledged release is gone');
  }

  const last = await commitOf('last');
  const items = ['robot/edge', 'robot/stable'].map((channel) => ({ commit: last, channel }));
  await api.post('/publish', { items });
  const isQuiet = async () => {
    const { releases } = await api.get<{ releases: Release[] }>('/releases?limit=1000');
    return releases.every(({ state }) => state !== 'publishing');
  };
  await until(isQuiet, 'all that was decided published');
  const path = join(dataDir, 'repos/public');
  const repo = await openRepo(path);
  assert.deepEqual(Object.fromEntries(await listRefs(repo)), { 'robot/edge': last, 'robot/stable': last });
  await ostree('fsck', '--quiet', '--repo', path);
  assert.ok((await listDeltas(repo)).some(({ to }) => to === last));

  const signed = await createRepo(join(folder, 'signed'), { mode: 'bare-user-only' });
  assert.equal(await pullSigned(signed, `${api.url}/repos/public`, publicKey), last);
  const client = join(folder, 'client');
  await ostree('init', '--repo', client, '--mode', 'bare-user-only');
  await ostree('remote', 'add', '--repo', client, '--no-gpg-verify', 'line', `${api.url}/repos/public`);
  await ostree('pull', '--repo', client, 'line', 'robot/edge');
  assert.equal(await ostree('rev-parse', '--repo', client, 'line:robot/edge'), last);
  await kill(child);
  await leftNothing(t, settings, path);
});

async function pullSigned(repo: Repo, url: string, key: string): Promise<string | undefined> {
  const keys = { url, 'gpg-verify': 'false', 'sign-verify': 'ed25519', 'sign-verify-summary': 'ed25519' };
  await addRemote(repo, 'line', new Map(Object.entries({ ...keys, 'verification-ed25519-key': key })));
  return (await pull(repo, { url, remote: 'line', refs: ['robot/edge'] })).commits.get('robot/edge');
}

/** What processes that were killed had staged is gone after the next start and one more publication. */
async function leftNothing(t: TestContext, settings: SettingsFragment, path: string): Promise<void> {
  const { child, api } = await live(t, settings);
  await api.post('/publish', { commit: 'public:robot/edge', channel: 'robot/once-more' });
  const staged = readdirSync(join(path, 'tmp')).filter((name) => /^treeline-(begun-)?[0-9a-f]{16}$/.test(name));
  assert.deepEqual(staged, []);
  await kill(child);
}
