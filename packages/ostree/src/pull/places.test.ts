import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeCommit } from '../commit/write-commit.ts';
import { loosePath } from '../formats/object-name.ts';
import { fsck } from '../fsck/fsck.ts';
import { objectPath } from '../repo/objects.ts';
import { createRepo, type Repo, type RepoMode } from '../repo/repo.ts';
import { plainFileHeader, withTransaction } from '../repo/transaction.ts';
import { updateSummary } from '../summary/update.ts';
import { plainFiles, startServer } from '../testing/http.ts';
import { noise } from '../testing/sample-repo.ts';
import { scratchFolder } from '../testing/scratch.ts';
import type { PullProgress } from './progress.ts';
import { pull } from './pull.ts';

/** A repository with a commit of a few files, and a server of it that tells what it was asked for. */
async function origin(t: TestContext) {
  const base = scratchFolder(t);
  const theirs = await createRepo(join(base, 'theirs'));
  const { commit, files } = await addCommit(theirs, 40);
  await updateSummary(theirs);
  const asked: string[] = [];
  const serve = plainFiles(theirs.path);
  const url = await startServer(t, (req, res, path) => {
    asked.push(path);
    return serve(req, res, path);
  });
  return { base, theirs, commit, files, asked, url };
}

async function addCommit(repo: Repo, count: number): Promise<{ commit: string; files: string[] }> {
  return withTransaction(repo, async (tx) => {
    const files = new Map<string, string>();
    for (let index = 0; index < count; index++) {
      const content = index === 0 ? noise(1_500_000) : Buffer.from(`file ${index}\n`);
      files.set(`f${index}`, (await tx.writeFile(plainFileHeader(), content)).checksum);
    }
    const contents = tx.writeDirTree({ files, dirs: new Map() });
    const commit = await writeCommit(tx, { tree: { contents, meta: tx.emptyTree().meta }, timestamp: 1 });
    tx.setRef('main', commit);
    return { commit, files: [...files.values()] };
  });
}

async function assertWhole(repo: Repo): Promise<void> {
  const report = await fsck(repo);
  assert.deepEqual([report.damaged, report.commits], [[], 1]);
}

test('what one mirror of a list lacks comes from the next', async (t) => {
  const { base, theirs, url, asked } = await origin(t);
  const poor = await startServer(t, (req, res, path) => {
    if (path.endsWith('.filez')) res.writeHead(404).end();
    else return plainFiles(theirs.path)(req, res, path);
  });
  const list = await startServer(
    t,
    (_req, res) => void res.end(`# mirrors\n\nftp://nowhere\n${url}/none\n http://127.0.0.1:9\n${poor}\n${url}/\n`),
  );
  const repo = await createRepo(join(base, 'ours'));
  await pull(repo, { url: `mirrorlist=${list}/mirrors?arch=x`, refs: ['main'] });
  await assertWhole(repo);
  assert.ok(asked.some((path) => path.endsWith('.filez')) && !asked.some((path) => /(commit|dirtree)$/.test(path)));
  const content = await createRepo(join(base, 'content'));
  await pull(content, { url: poor, contentUrl: `mirrorlist=${list}/mirrors`, refs: ['main'] });
  await assertWhole(content);
  const empty = await startServer(t, (_req, res) => void res.end('# none\n'));
  await assert.rejects(pull(repo, { url: `mirrorlist=${empty}/x`, refs: ['main'] }), {
    message: `No valid mirrors were found in mirrorlist '${empty}/x'`,
  });
  await assert.rejects(pull(repo, { url: `mirrorlist=${url}/none`, refs: ['main'] }), {
    message: /^While fetching mirrorlist /,
  });
});

test('a metalink leads to a summary that is what it says, and to the repository around it', async (t) => {
  const { base, theirs, url } = await origin(t);
  const summary = readFileSync(join(theirs.path, 'summary'));
  const metalink = (digest: string, size = summary.length) =>
    startServer(
      t,
      (_req, res) =>
        void res.end(`<metalink><files><file name="summary"><size>${size}</size>
        <verification><hash type="sha256">${digest}</hash></verification><resources>
        <url protocol="http">${url}/config</url><url protocol="http">${url}/none/summary</url>
        <url protocol="http">${url}/summary</url></resources></file></files></metalink>`),
    );
  const repo = await createRepo(join(base, 'ours'));
  await pull(repo, { url: '', metalink: `${await metalink(hash('sha256', summary))}/m.xml`, refs: ['main'] });
  await assertWhole(repo);
  const wrong = await metalink('0'.repeat(64));
  await assert.rejects(pull(repo, { url: '', metalink: `${wrong}/m.xml`, refs: ['main'] }), {
    message: /^Exhausted 3 metalink targets, last error: Expected checksum is 0+ but actual is/,
  });
});

test('objects that a repository of this machine has are not fetched, in whatever mode it is', async (t) => {
  const { base, commit, asked, url } = await origin(t);
  for (const mode of ['archive', 'bare-user-only', 'bare-user'] satisfies RepoMode[]) {
    const cache = await createRepo(join(base, `cache-${mode}`), { mode });
    await pull(cache, { url, refs: ['main'] });
    asked.length = 0;
    const repo = await createRepo(join(base, `ours-${mode}`));
    const stats = await pull(repo, { url, refs: ['main'], localCaches: [cache] });
    await assertWhole(repo);
    assert.deepEqual([stats.contentFetched, stats.contentFromCaches, stats.commits.get('main')], [0, 40, commit]);
    assert.ok(!asked.some((path) => path.endsWith('.filez') || path.endsWith('.dirtree')), mode);
  }
});

test('what is damaged or missing in a cache is fetched after all', async (t) => {
  const { base, theirs, files, url } = await origin(t);
  const cache = await createRepo(join(base, 'cache'));
  await pull(cache, { url, refs: ['main'] });
  truncateSync(objectPath(cache, 'file', files[3]!), 40);
  writeFileSync(objectPath(cache, 'file', files[4]!), readFileSync(objectPath(cache, 'file', files[5]!)));
  rmSync(objectPath(cache, 'file', files[6]!));
  const tree = readFileSync(join(theirs.path, 'refs/heads/main'), 'utf8').trim();
  assert.ok(readFileSync(join(theirs.path, 'objects', loosePath(tree, 'commit'))).length > 0);
  const repo = await createRepo(join(base, 'ours'));
  const stats = await pull(repo, { url, refs: ['main'], localCaches: [cache.path] });
  assert.deepEqual([stats.contentFetched, stats.contentFromCaches], [3, 37]);
  await assertWhole(repo);
});

test('progress says how long it takes as soon as that is known', async (t) => {
  const { base, theirs } = await origin(t);
  const serve = plainFiles(theirs.path);
  const slow = await startServer(t, async (req, res, path) => {
    await new Promise((resolve) => setTimeout(resolve, 40));
    return serve(req, res, path);
  });
  const told: PullProgress[] = [];
  const repo = await createRepo(join(base, 'ours'));
  await pull(repo, { url: slow, refs: ['main'], onProgress: (progress) => told.push(progress) });
  const last = told.at(-1)!;
  assert.deepEqual([last.objects, last.bytesExpected, last.secondsLeft], [last.objectsKnown, null, 0]);
  assert.ok(told.some(({ secondsLeft }) => secondsLeft === null || secondsLeft > 0));
});
