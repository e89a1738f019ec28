import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeFolder } from '../commit/folder.ts';
import { writeCommit } from '../commit/write-commit.ts';
import type { Checksum } from '../formats/object-name.ts';
import { decodeSummary } from '../formats/summary.ts';
import { pruneDeltas } from '../prune/deltas.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { serveRepository } from '../serve/server.ts';
import { updateSummary } from '../summary/update.ts';
import { ostree, ostreeMeanwhile, scratchFolder } from '../testing/scratch.ts';
import { writeVersion } from '../testing/versions.ts';
import { generateDelta } from './generate.ts';
import { decodeDeltaIndex, decodeDeltaList } from './index-file.ts';
import { type DeltaName, deltaFolder, deltaIndexPath, deltaName } from './names.ts';
import { hasDelta, isRetiredDelta, listDeltas, retireDelta } from './stored.ts';

async function setUp(t: TestContext): Promise<{ repo: Repo; folder: string; first: Checksum; second: Checksum }> {
  const folder = scratchFolder(t);
  const repo = await createRepo(join(folder, 'repo'));
  const commits: Checksum[] = [];
  for (const version of [1, 2] as const) {
    writeVersion(join(folder, 'tree'), version);
    commits.push(
      await withTransaction(repo, async (tx) => {
        const tree = await writeFolder(tx, join(folder, 'tree'), { owner: { uid: 0, gid: 0 }, xattrs: false });
        const commit = await writeCommit(tx, { tree });
        tx.setRef('main', commit);
        return commit;
      }),
    );
  }
  const [first, second] = commits as [Checksum, Checksum];
  await generateDelta(repo, { from: first, to: second });
  await generateDelta(repo, { from: null, to: second });
  await updateSummary(repo);
  return { repo, folder, first, second };
}

const names = (deltas: readonly DeltaName[]) => deltas.map(({ from, to }) => deltaName(from, to));

/** What a client is told of. */
async function named(repo: Repo, to: Checksum): Promise<{ index: string[]; summary: string[] }> {
  const { metadata } = decodeSummary(await readFile(join(repo.path, 'summary')));
  const listed = metadata.find(([key]) => key === 'ostree.static-deltas')?.[1];
  const index = join(repo.path, deltaIndexPath(to));
  return {
    index: existsSync(index) ? names(decodeDeltaIndex(await readFile(index))) : [],
    summary: listed ? names(decodeDeltaList(listed, 'summary')) : [],
  };
}

test('a retired delta is named no more, and still there for who knows it; made again it is new', async (t) => {
  const { repo, folder, first, second } = await setUp(t);
  const [delta, scratch] = [
    { from: first, to: second },
    { from: null, to: second },
  ];
  const both = names([scratch, delta]).sort();
  assert.deepEqual(await named(repo, second), { index: both, summary: both });

  await retireDelta(repo, delta);
  await retireDelta(repo, delta);
  assert.ok(isRetiredDelta(repo, delta) && !isRetiredDelta(repo, scratch));
  await updateSummary(repo);
  assert.deepEqual(await named(repo, second), { index: names([scratch]), summary: names([scratch]) });
  assert.deepEqual(names(await listDeltas(repo)), both);

  // The mark is nothing that a server gives out, and what it served before it serves on.
  const server = await serveRepository(repo.path);
  t.after(() => server.close());
  const device = join(folder, 'device');
  ostree(`--repo=${device}`, 'init', '--mode=bare-user-only');
  ostree(`--repo=${device}`, 'remote', 'add', '--no-gpg-verify', 'origin', server.url);
  await ostreeMeanwhile(`--repo=${device}`, 'pull', 'origin', first);
  await ostreeMeanwhile(`--repo=${device}`, 'pull', 'origin', 'main');
  const path = (file: string) => `${server.url}/${deltaFolder(first, second)}/${file}`;
  assert.equal((await fetch(path('superblock'))).status, 200);
  assert.equal((await fetch(path('.retired'))).status, 404);

  await retireDelta(repo, scratch);
  await updateSummary(repo);
  assert.deepEqual(await named(repo, second), { index: [], summary: [] });
  await retireDelta(repo, scratch, false);
  await generateDelta(repo, delta);
  await updateSummary(repo);
  assert.deepEqual(await named(repo, second), { index: both, summary: both });
  await assert.rejects(retireDelta(repo, { from: second, to: first }), { code: 'not-found' });
});

test('deltas to and from commits that go are deleted together', async (t) => {
  const { repo, first, second } = await setUp(t);
  await generateDelta(repo, { from: second, to: first });
  assert.deepEqual(await pruneDeltas(repo, { of: new Set(['0'.repeat(64)]) }), []);
  const deleted = await pruneDeltas(repo, { of: new Set([first]) });
  assert.deepEqual(
    names(deleted).sort(),
    names([
      { from: first, to: second },
      { from: second, to: first },
    ]).sort(),
  );
  assert.ok(hasDelta(repo, { from: null, to: second }));
  assert.deepEqual((await named(repo, second)).index, [second]);
  assert.deepEqual((await named(repo, first)).index, []);
});
