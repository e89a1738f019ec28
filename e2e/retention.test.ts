// Retention deletes what is dropped while releases are published and stock clients pull, and is killed in the middle.
// Nobody gets anything broken, nothing that is kept is touched, and what is left is what retention says.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  decodeDeltaList,
  decodeSummary,
  deltaSuperblockPath,
  hasClosure,
  listCommits,
  metadataValue,
  openRepo,
  type Repo,
  readCommit,
  withTransaction,
  writeCommit,
} from '@treeline/ostree';
import { machineClient } from './testing/ostree-client.ts';
import { scratchFolder } from './testing/scratch.ts';
import { TreelineServer } from './testing/treeline-server.ts';

const CHANNEL = 'robot/edge';
/** Releases that have to go before the test may end. */
const ENOUGH = 4;
const DAY_SECONDS = 86_400;
const PLAIN = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: [] };

interface Pruned {
  commits: { commit: string; state: string }[];
  freed: { objects: number };
}

/** Makes commits in the store of which each has some files of its own and shares the others with the one before. */
async function writeRelease(store: Repo, number: number, o: { files: number; own: number }): Promise<string> {
  return withTransaction(store, async (tx) => {
    const { meta } = tx.emptyTree();
    const folders = new Map<string, Map<string, string>>();
    for (let index = 0; index < o.files; index++) {
      // File `index` changes with every release that has the same remainder.
      const rounds = Math.max(1, Math.floor(o.files / o.own));
      const version = number - ((((number - index) % rounds) + rounds) % rounds);
      const content = Buffer.from(`file ${index} of ${version}\n`.repeat(20));
      const { checksum } = await tx.writeFile(PLAIN, content);
      const folder = `d${index % 25}`;
      folders.set(folder, (folders.get(folder) ?? new Map<string, string>()).set(`f${index}`, checksum));
    }
    const dirs = new Map(
      [...folders].map(([name, files]) => [name, { contents: tx.writeDirTree({ files, dirs: new Map() }), meta }]),
    );
    const contents = tx.writeDirTree({ files: new Map(), dirs });
    return writeCommit(tx, { tree: { contents, meta }, subject: `release ${number}` });
  });
}

/** What is there is whole, and what the summary names is there. */
async function assertSound(repo: Repo): Promise<void> {
  execFileSync('ostree', ['fsck', '--quiet', `--repo=${repo.path}`], { stdio: 'pipe' });
  const commits = new Set(await listCommits(repo));
  for (const commit of commits) assert.deepEqual(await hasClosure(repo, (await readCommit(repo, commit)).tree), []);
  const { refs, metadata } = decodeSummary(readFileSync(join(repo.path, 'summary')));
  for (const [ref, { commit }] of refs) assert.ok(commits.has(commit), `${ref} names ${commit}`);
  const deltas = metadataValue(metadata, 'ostree.static-deltas');
  for (const { from, to } of deltas ? decodeDeltaList(deltas, 'summary') : []) {
    assert.ok(existsSync(join(repo.path, deltaSuperblockPath(from, to))), `the summary names a delta to ${to}`);
  }
}

test('publishing, pruning and stock clients that pull go on side by side', async (t) => {
  const folder = scratchFolder(t);
  const server = new TreelineServer(join(folder, 'data'));
  t.after(() => server.kill());
  await server.start();
  const graceSeconds = 15;
  await server.patch('/repositories/public', {
    retention: { releases: 1, youngerThan: 0, grace: graceSeconds / DAY_SECONDS },
    deltas: { previous: 1, devices: false },
  });
  const store = await openRepo(join(server.data, 'store'));
  const repo = await openRepo(join(server.data, 'repos/public'));
  /** What the channel had, and when it was last what it had. */
  const released: { commit: string; until: number }[] = [];
  const stop = new AbortController();
  const fail = (error: unknown) => {
    stop.abort();
    throw error;
  };

  let gone = 0;
  const publishing = (async () => {
    // Long enough for some to go; on a busy machine a release takes a while.
    const [least, most] = [Date.now() + (graceSeconds + 15) * 1000, Date.now() + 240_000];
    const isEnough = () => Date.now() > most || (Date.now() > least && gone >= ENOUGH);
    for (let number = 0; !isEnough() && !stop.signal.aborted; number++) {
      const commit = await writeRelease(store, number, { files: 200, own: 12 });
      const before = released.at(-1);
      const answer = await server.post<{ state: string }>('/publish', { commit, channel: CHANNEL });
      assert.equal(answer.state, 'published');
      if (before) before.until = Date.now();
      released.push({ commit, until: Number.POSITIVE_INFINITY });
    }
    stop.abort();
  })().catch(fail);
  const pruning = (async () => {
    while (!stop.signal.aborted) {
      const { commits } = await server.post<Pruned>('/repositories/public/prune', {});
      gone += commits.filter(({ state }) => state === 'gone').length;
      await sleep(500);
    }
  })().catch(fail);
  while (released.length === 0 && !stop.signal.aborted) await sleep(20);
  const client = machineClient();
  const pulls = { refs: 0, checksums: 0 };
  const pulling = Array.from({ length: 4 }, async (_, index) => {
    const place = join(folder, `client-${index}`);
    mkdirSync(place);
    const call = async (...args: string[]) => {
      const { status, output } = await client.ostree(place, ...args);
      assert.equal(status, 0, `ostree ${args.join(' ')}: ${output}`);
    };
    for (let round = 0; !stop.signal.aborted; round++) {
      // Some go on from what they have, and use deltas where there are any; others begin anew.
      const path = join(place, index % 2 === 0 ? 'repo' : `repo-${round}`);
      if (!existsSync(path)) {
        await call('init', `--repo=${path}`, '--mode=bare-user-only');
        await call('remote', 'add', `--repo=${path}`, '--no-gpg-verify', 'origin', `${server.url}/repos/public`);
      }
      // A commit that the channel has not had any more for a little while, as a slow client would want it.
      const recent = released.filter(({ until }) => until > Date.now() - 3000);
      const commit = recent[round % recent.length]?.commit;
      const isRef = round % 2 === 0 || commit === undefined;
      await call('pull', `--repo=${path}`, 'origin', isRef ? CHANNEL : commit);
      pulls[isRef ? 'refs' : 'checksums']++;
      await sleep(300);
      if (round % 5 === 4) await call('fsck', '--quiet', `--repo=${path}`);
    }
  }).map((one) => one.catch(fail));
  await Promise.all([publishing, pruning, ...pulling]);

  const happened = `${released.length} releases, ${gone} gone, ${pulls.refs} pulls of the ref, ${pulls.checksums} by checksum`;
  t.diagnostic(happened);
  assert.ok(gone >= ENOUGH && pulls.refs > 4 && pulls.checksums > 2, `too little happened: ${happened}`);
  await assertSound(repo);
  await server.patch('/repositories/public', { retention: { grace: 0 } });
  await server.post('/repositories/public/prune', {});
  assert.deepEqual(await listCommits(repo), [released.at(-1)!.commit]);
  await assertSound(repo);
});

test('killed in the middle, it leaves nothing broken, and goes on at the next start', async (t) => {
  const folder = scratchFolder(t);
  const server = new TreelineServer(join(folder, 'data'));
  t.after(() => server.kill());
  await server.start();
  const retention = { releases: 100, youngerThan: 0, grace: 0 };
  await server.patch('/repositories/public', { retention, deltas: { previous: 1, devices: false } });
  const store = await openRepo(join(server.data, 'store'));
  const repo = await openRepo(join(server.data, 'repos/public'));
  const commits: string[] = [];
  const KILLS = 6;
  for (let number = 0; number <= KILLS + 1; number++) {
    const commit = await writeRelease(store, number, { files: 1500, own: 500 });
    await server.post('/publish', { commit, channel: CHANNEL });
    commits.push(commit);
  }
  let cut = 0;
  for (let kill = 1; kill <= KILLS; kill++) {
    // One release more goes each time; the kill comes while it is decided, unlisted, walked or deleted.
    await server.patch('/repositories/public', { retention: { releases: commits.length - kill } });
    const asked = server.post<Pruned>('/repositories/public/prune', {}).then(
      () => true,
      () => false,
    );
    await sleep(Math.random() * 25 * kill);
    await server.kill();
    if (!(await asked)) cut++;
    const left = await listCommits(repo);
    for (const commit of commits.slice(kill)) assert.ok(left.includes(commit), `${commit} is kept`);
    await assertSound(repo);
    await server.start();
    const leftovers = readdirSync(join(repo.path, 'tmp')).filter((name) => /^(treeline-[0-9a-f]|summary-)/.test(name));
    assert.deepEqual(leftovers, []);
    const place = join(folder, `client-${kill}`);
    execFileSync('ostree', ['init', `--repo=${place}`, '--mode=bare-user-only']);
    execFileSync('ostree', [
      ...['remote', 'add', `--repo=${place}`, '--no-gpg-verify', 'origin', `${server.url}/repos/public`],
    ]);
    const { status, output } = await machineClient().ostree(folder, 'pull', `--repo=${place}`, 'origin', CHANNEL);
    assert.equal(status, 0, output);
  }
  t.diagnostic(`${cut} of ${KILLS} prunes were cut off`);
  await server.patch('/repositories/public', { retention: { releases: 1 } });
  await server.post('/repositories/public/prune', {});
  assert.deepEqual(await listCommits(repo), [commits.at(-1)]);
  await assertSound(repo);
  // All that is left is what the commit needs: nothing was forgotten by a prune that was cut off.
  const { freed } = await server.post<Pruned>('/repositories/public/prune', {});
  assert.equal(freed.objects, 0);
});
