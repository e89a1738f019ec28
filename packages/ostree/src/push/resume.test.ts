import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readRef } from '../repo/refs.ts';
import { createRepo, openRepo, type RepoMode } from '../repo/repo.ts';
import { firstLine } from '../testing/first-line.ts';
import { freePort } from '../testing/free-port.ts';
import { receivingServer } from '../testing/push.ts';
import { noise } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { until } from '../testing/until.ts';
import { push } from './push.ts';

const program = (name: string) => join(import.meta.dirname, `../testing/${name}.ts`);

/** Many small files and a large one, neither of which can be made much smaller. */
function sender(base: string, mode: RepoMode): { path: string; commit: string; large: number } {
  const [path, folder] = [join(base, 'sender'), join(base, 'folder')];
  for (let index = 0; index < 1500; index++) {
    const at = join(folder, `d${index % 40}`);
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, `f${index}`), noise(3000, index + 1));
  }
  const large = 40_000_000;
  writeFileSync(join(folder, 'large'), noise(large, 77));
  ostree(`--repo=${path}`, 'init', `--mode=${mode}`);
  const commit = ostree(`--repo=${path}`, 'commit', '-b', 'main', '--canonical-permissions', folder);
  return { path, commit, large };
}

async function startServer(t: TestContext, args: string[]): Promise<{ url: string; ended: Promise<unknown[]> }> {
  const child = spawn(process.execPath, [program('push-server'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  return { url: await firstLine(child), ended: once(child, 'exit') };
}

for (const mode of ['archive', 'bare-user'] as const) {
  test(`a push from a repository of mode ${mode} survives the receiver being killed, twice, and sends little again`, async (t) => {
    const base = scratchFolder(t);
    const { path, commit, large } = sender(base, mode);
    const store = join(base, 'store');
    await createRepo(store);
    const port = String(await freePort());
    const first = await startServer(t, [store, port, '8000000']);
    const restarts = (async () => {
      let { ended } = first;
      for (const killAt of [['26000000'], []]) {
        assert.deepEqual(await ended, [null, 'SIGKILL']);
        ({ ended } = await startServer(t, [store, port, ...killAt]));
      }
    })();
    const stats = await push(await openRepo(path), first.url, { ref: 'main', retries: 20 });
    await restarts;
    assert.equal(stats.commit, commit);
    const repo = await openRepo(store);
    assert.equal(await readRef(repo, 'main'), commit);
    ostree(`--repo=${store}`, 'fsck');
    // Without anything kept it would be 8 + 26 + all of them.
    assert.ok(stats.bytes! < 1.6 * (large + 1500 * 3100), `${stats.bytes} bytes`);
    assert.deepEqual(
      readdirSync(join(store, 'tmp')).filter((name) => name.startsWith('treeline-push-')),
      [],
    );
  });
}

test('what a killed sender has sent is not sent again', async (t) => {
  const base = scratchFolder(t);
  const { path, commit, large } = sender(base, 'archive');
  const { url, repo, receiver } = await receivingServer(t, base);
  const child = spawn(process.execPath, [program('push-client'), path, url, 'main'], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  t.after(() => child.kill('SIGKILL'));
  await until(() => receiver.stagedBytes >= 20_000_000, 'half of it sent');
  child.kill('SIGKILL');
  assert.deepEqual(await ended, [null, 'SIGKILL']);
  assert.equal(await readRef(repo, 'main'), null);
  const stats = await push(await openRepo(path), url, { ref: 'main' });
  assert.equal(await readRef(repo, 'main'), commit);
  assert.ok(stats.bytes! < large + 1500 * 3100 - 8_000_000, `${stats.bytes} bytes`);
  ostree(`--repo=${repo.path}`, 'fsck');
});

test('a receiver that is started anew goes on with what the one before has left', async (t) => {
  const base = scratchFolder(t);
  const { path, large } = sender(base, 'archive');
  const one = await receivingServer(t, base);
  const controller = new AbortController();
  const pushing = push(await openRepo(path), one.url, { ref: 'main', signal: controller.signal });
  pushing.catch(() => {});
  await until(() => one.receiver.stagedBytes >= 20_000_000, 'half of it sent');
  controller.abort();
  await assert.rejects(pushing, { name: 'AbortError' });
  await one.close();
  const two = await receivingServer(t, base, { repo: one.repo });
  assert.ok(two.receiver.stagedBytes > 10_000_000);
  const stats = await push(await openRepo(path), two.url, { ref: 'main' });
  assert.ok(stats.bytes! < large + 1500 * 3100 - 8_000_000, `${stats.bytes} bytes`);
  ostree(`--repo=${two.repo.path}`, 'fsck');
});

test('halves that were compressed in different ways are noticed, and the whole is sent', async (t) => {
  const base = scratchFolder(t);
  const [path, folder] = [join(base, 'sender'), join(base, 'folder')];
  mkdirSync(folder);
  // Compressible, so that another level makes other bytes.
  writeFileSync(
    join(folder, 'large'),
    Buffer.concat(Array.from({ length: 4000 }, (_, i) => Buffer.concat([noise(2000, i + 1), Buffer.alloc(6000, i)]))),
  );
  ostree(`--repo=${path}`, 'init', '--mode=bare-user');
  const commit = ostree(`--repo=${path}`, 'commit', '-b', 'main', '--canonical-permissions', folder);
  const one = await receivingServer(t, base);
  const controller = new AbortController();
  const pushing = push(await openRepo(path), one.url, { ref: 'main', signal: controller.signal });
  pushing.catch(() => {});
  await until(() => one.receiver.stagedBytes >= 4_000_000, 'a part of it sent');
  controller.abort();
  await pushing.catch(() => {});
  ostree(`--repo=${path}`, 'config', 'set', 'archive.zlib-level', '1');
  const stats = await push(await openRepo(path), one.url, { ref: 'main' });
  assert.equal(stats.commit, commit);
  ostree(`--repo=${one.repo.path}`, 'fsck');
});
