// Stock clients, Debian 12's and Debian 13's, pull what Treeline has published: by ref, by checksum, with a static delta
// and without, signed; from Treeline's server, from nginx on the published folder, from an nginx that caches in front of
// Treeline, and from a static export.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createRepo, push, withTransaction, writeCommit, writeFolder } from '@treeline/ostree';
import { makeGpgKey } from './testing/gpg-key.ts';
import { startNginx } from './testing/nginx.ts';
import { machineClient, type OstreeClient, trixieClient } from './testing/ostree-client.ts';
import { scratchFolder } from './testing/scratch.ts';
import { TreelineServer, treeline } from './testing/treeline-server.ts';

const FILES = 400;
const CHANNEL = 'robot/edge';
const cleanUp: (() => unknown)[] = [];
const clients = [machineClient(), trixieClient()];
let folder: string;
/** Addresses of the repository, by what is there. */
const places = new Map<string, string>();
let first: string;
let second: string;

before(async () => {
  folder = scratchFolder({ after: (work: () => unknown) => void cleanUp.push(work) });
  const server = new TreelineServer(join(folder, 'data'));
  cleanUp.push(() => server.kill());
  makeGpgKey({
    home: join(server.data, 'keys/signer'),
    user: 'release@example.org',
    publicKey: join(folder, 'key.asc'),
    cleanUp,
  });
  await server.start();
  const signing = [{ type: 'gpg', key: 'release@example.org', home: 'signer' }];
  await server.patch('/repositories/public', { signing });
  first = await release(server, 1);
  second = await release(server, 2);

  const repository = join(server.data, 'repos/public');
  const plain = await startNginx(
    join(folder, 'nginx-folder'),
    `access_log off; server { listen 127.0.0.1:PORT; root ${repository}; }`,
  );
  const cacheArgs = ['nginx', 'cache', `${server.url}/repos/public`, '--listen', '127.0.0.1:1'];
  const made = await treeline([...cacheArgs, '--cache', join(folder, 'cache'), '--data', server.data]);
  assert.equal(made.status, 0, made.output);
  const cache = await startNginx(join(folder, 'nginx-cache'), made.output.replace('127.0.0.1:1;', '127.0.0.1:PORT;'));
  const exported = join(folder, 'exported');
  const { status, output } = await treeline(['export', 'public', exported, '--data', server.data]);
  assert.equal(status, 0, output);
  const statics = await startNginx(
    join(folder, 'nginx-static'),
    `access_log off; server { listen 127.0.0.1:PORT; root ${exported}; }`,
  );
  for (const nginx of [plain, cache, statics]) cleanUp.push(() => nginx.stop());
  places.set('Treeline’s server', `${server.url}/repos/public`);
  places.set('nginx on the folder', plain.url);
  places.set('an nginx cache in front of Treeline', `${cache.url}/repos/public`);
  places.set('a static export', statics.url);
});

after(async () => {
  for (const work of cleanUp.reverse()) await work();
});

/** Pushes a version of the tree and publishes it, with a delta from the one before. */
async function release(server: TreelineServer, version: number): Promise<string> {
  const tree = join(folder, 'tree');
  for (let index = 0; index < FILES; index++) {
    mkdirSync(join(tree, `usr/share/part-${index % 20}`), { recursive: true });
    const text = index % 40 === 0 ? `file ${index} of version ${version}\n` : `file ${index}\n`;
    writeFileSync(join(tree, `usr/share/part-${index % 20}/file-${index}`), text.repeat(100));
  }
  const repo = await createRepo(join(folder, 'developer'), { mode: 'archive' });
  const commit = await withTransaction(repo, async (tx) =>
    writeCommit(tx, {
      tree: await writeFolder(tx, tree),
      subject: `version ${version}`,
      ...(version > 1 ? { parent: first } : {}),
    }),
  );
  const headers = { authorization: `Bearer ${server.token}` };
  await push(repo, `${server.url}/api/v1/push/`, { ref: 'dev/release', rev: commit, headers });
  const { state } = await server.post<{ state: string }>('/publish', { commit, channel: CHANNEL });
  assert.equal(state, 'published');
  return commit;
}

let count = 0;

/** A new repository of a client that checks the signatures of commits and summaries. */
async function newRepository(client: OstreeClient, url: string, mode: string) {
  count++;
  const place = join(folder, `client-${count}`);
  mkdirSync(place);
  execFileSync('cp', [join(folder, 'key.asc'), place]);
  const ostree = async (...args: string[]): Promise<string> => {
    const { status, output } = await client.ostree(place, ...args, `--repo=${join(place, 'repo')}`);
    assert.equal(status, 0, `${client.name}, ${url}: ostree ${args.join(' ')}: ${output}`);
    return output.trim();
  };
  await ostree('init', `--mode=${mode}`);
  const verify = ['--set=gpg-verify-summary=true', `--gpg-import=${join(place, 'key.asc')}`];
  await ostree('remote', 'add', ...verify, 'origin', url);
  return ostree;
}

for (const client of clients) {
  for (const place of [
    'Treeline’s server',
    'nginx on the folder',
    'an nginx cache in front of Treeline',
    'a static export',
  ]) {
    test(`${client.name} pulls from ${place}`, async () => {
      const url = places.get(place)!;
      const byRef = await newRepository(client, url, 'bare-user');
      await byRef('pull', '--disable-static-deltas', 'origin', CHANNEL);
      assert.equal(await byRef('rev-parse', `origin:${CHANNEL}`), second);
      assert.match(await byRef('show', second), /Good signature/);
      await byRef('fsck', '--quiet');

      const bySum = await newRepository(client, url, 'archive');
      await bySum('pull', 'origin', first);
      await bySum('fsck', '--quiet');

      const byDelta = await newRepository(client, url, 'bare-user');
      await byDelta('pull', 'origin', first);
      await byDelta('pull', '--require-static-deltas', 'origin', CHANNEL);
      assert.equal(await byDelta('rev-parse', `origin:${CHANNEL}`), second);
      await byDelta('fsck', '--quiet');

      const stranger = await newRepository(client, url, 'bare-user');
      await stranger('remote', 'delete', 'origin');
      await stranger('remote', 'add', 'origin', url);
      await assert.rejects(stranger('pull', 'origin', CHANNEL), /GPG|signature/i);
    });
  }
}
