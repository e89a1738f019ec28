import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeCommit } from '../commit/write-commit.ts';
import { loosePath } from '../formats/object-name.ts';
import { fsck } from '../fsck/fsck.ts';
import { readCommit, readDirTree } from '../repo/objects.ts';
import { listRefs, readRef } from '../repo/refs.ts';
import { createRepo, type Repo, type RepoMode } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { serveRepository } from '../serve/server.ts';
import { plainFiles, startServer } from '../testing/http.ts';
import { pythonServer } from '../testing/http-server.ts';
import { libostreeRepo, noise } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { hasClosure } from './closure.ts';
import { pull } from './pull.ts';

/** What a stock `ostree` says is in a commit; and that its fsck is content. */
function listed(repo: string, ref: string): string {
  ostree(`--repo=${repo}`, 'fsck');
  return ostree(`--repo=${repo}`, 'ls', '-R', '-C', ref);
}

function countObjects(repo: Repo): number {
  return readdirSync(join(repo.path, 'objects'), { recursive: true }).filter((name) => String(name).includes('.'))
    .length;
}

async function emptyRepo(base: string, name = 'ours', mode: RepoMode = 'archive'): Promise<Repo> {
  return createRepo(join(base, name), { mode });
}

for (const mode of ['archive', 'bare-user-only'] as const) {
  test(`a repository made by libostree, on a plain web server, is pulled into one of mode ${mode}`, async (t) => {
    const base = scratchFolder(t);
    const theirs = libostreeRepo(base);
    const repo = await emptyRepo(base, 'ours', mode);
    const url = await startServer(t, plainFiles(theirs.path));
    const stats = await pull(repo, { url, refs: ['main'] });
    assert.equal(await readRef(repo, 'main'), theirs.commit);
    assert.deepEqual(stats.commits, new Map([['main', theirs.commit]]));
    assert.equal(listed(repo.path, 'main'), listed(theirs.path, 'main'));
    assert.equal(stats.metadataFetched + stats.contentFetched, countObjects(repo));
    const again = await pull(repo, { url, refs: ['main'] });
    assert.equal(again.metadataFetched + again.contentFetched, 0);
  });
}

test("python's http.server will do", async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  ostree(`--repo=${theirs.path}`, 'summary', '-u');
  const repo = await emptyRepo(base);
  const stats = await pull(repo, { url: `${await pythonServer(t, theirs.path)}/` });
  assert.deepEqual([...stats.commits], [['main', theirs.commit]]);
  assert.equal(listed(repo.path, 'main'), listed(theirs.path, 'main'));
});

test('after a change only what changed is asked for', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const files = plainFiles(theirs.path);
  const asked: string[] = [];
  const url = await startServer(t, (req, res, path) => {
    asked.push(path);
    return files(req, res, path);
  });
  const repo = await emptyRepo(base);
  await pull(repo, { url, refs: ['main'], remote: 'origin' });
  writeFileSync(join(theirs.folder, 'usr/share/doc/p3/f3'), 'changed');
  const next = ostree(`--repo=${theirs.path}`, 'commit', '-b', 'main', '--canonical-permissions', theirs.folder);
  asked.length = 0;
  const stats = await pull(repo, { url, refs: ['main'], remote: 'origin' });
  assert.equal(await readRef(repo, 'origin:main'), next);
  assert.equal(await readRef(repo, 'main'), null);
  assert.equal(stats.contentFetched, 1);
  assert.equal(stats.metadataFetched, 6); // the commit, and /, usr, share, doc, p3
  // config, summary.sig, summary, ref, commitmeta and commit come first
  assert.deepEqual(asked.slice(0, 4), ['/config', '/summary.sig', '/summary', '/refs/heads/main']);
  assert.equal(asked.length, 4 + 2 + 5 + 1);
  assert.equal(listed(repo.path, 'origin:main'), listed(theirs.path, 'main'));
});

test('a folder that is there with something missing below is completed', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const repo = await emptyRepo(base);
  const url = await startServer(t, plainFiles(theirs.path));
  await pull(repo, { url, refs: ['main'] });
  const { tree } = await readCommit(repo, theirs.commit);
  const root = await readDirTree(repo, tree.contents);
  const usr = await readDirTree(repo, root.dirs.get('usr')!.contents);
  rmSync(join(repo.path, 'objects', loosePath(theirs.commit, 'commit')));
  rmSync(join(repo.path, 'objects', loosePath(usr.dirs.get('bin')!.contents, 'dirtree')));
  rmSync(join(repo.path, 'objects', loosePath(root.files.get('zeros')!, 'filez')));
  assert.equal((await hasClosure(repo, tree)).length, 2);
  const stats = await pull(repo, { url, refs: ['main'] });
  assert.equal(stats.contentFetched, 1);
  assert.equal(stats.metadataFetched, 2);
  assert.deepEqual(await hasClosure(repo, tree), []);
});

test('history is pulled as deep as asked, and commits by checksum', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const commits = [theirs.commit];
  for (const text of ['two', 'three', 'four']) {
    writeFileSync(join(theirs.folder, 'etc/nothing'), text);
    commits.push(ostree(`--repo=${theirs.path}`, 'commit', '-b', 'main', '--canonical-permissions', theirs.folder));
  }
  const url = await startServer(t, plainFiles(theirs.path));
  const present = (repo: Repo) =>
    commits.map((one) => existsSync(join(repo.path, 'objects', loosePath(one, 'commit'))));
  const some = await emptyRepo(base, 'some');
  await pull(some, { url, refs: ['main'], depth: 1 });
  assert.deepEqual(present(some), [false, false, true, true]);
  await pull(some, { url, refs: ['main'], depth: -1 });
  assert.deepEqual(present(some), [true, true, true, true]);
  ostree(`--repo=${some.path}`, 'fsck');
  const one = await emptyRepo(base, 'one');
  const stats = await pull(one, { url, commits: [commits[1]!] });
  assert.deepEqual(stats.commits, new Map([[commits[1]!, commits[1]!]]));
  assert.deepEqual(present(one), [false, true, false, false]);
  assert.equal((await listRefs(one)).size, 0);
});

test('a commit alone is marked as partial, and completed by a later pull', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const url = await startServer(t, plainFiles(theirs.path));
  const repo = await emptyRepo(base);
  await pull(repo, { url, refs: ['main'], commitMetadataOnly: true });
  assert.equal(countObjects(repo), 1);
  assert.deepEqual((await fsck(repo)).partialCommits, [theirs.commit]);
  ostree(`--repo=${repo.path}`, 'fsck');
  await pull(repo, { url, refs: ['main'] });
  assert.deepEqual((await fsck(repo)).partialCommits, []);
  assert.equal(listed(repo.path, 'main'), listed(theirs.path, 'main'));
});

test('detached metadata comes with the commit', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base, '--add-detached-metadata-string=note=kept');
  const url = await startServer(t, plainFiles(theirs.path));
  const repo = await emptyRepo(base);
  await pull(repo, { url, refs: ['main'] });
  const shown = ostree(`--repo=${repo.path}`, 'show', '--print-detached-metadata-key=note', 'main');
  assert.equal(shown, "'kept'");
});

/** Serves a repository, but breaks off or holds up when told to. */
async function fragile(t: TestContext, path: string) {
  const inner = await serveRepository(path);
  t.after(() => inner.close());
  const state = { left: Number.POSITIVE_INFINITY, requests: [] as { path: string; range: string | undefined }[] };
  const url = await startServer(t, async (req, res, requested) => {
    state.requests.push({ path: requested, range: req.headers.range });
    const headers: Record<string, string> = {};
    for (const name of ['range', 'if-range'] as const) if (req.headers[name]) headers[name] = String(req.headers[name]);
    const answer = await fetch(inner.url + requested, { headers });
    res.writeHead(answer.status, Object.fromEntries(answer.headers));
    for await (const chunk of answer.body ?? []) {
      const data = Buffer.from(chunk as Uint8Array);
      if (state.left < data.length) {
        res.write(data.subarray(0, state.left));
        state.left = 0;
        await sleep(20);
        res.destroy();
        return;
      }
      state.left -= data.length;
      res.write(data);
    }
    res.end();
  });
  return { url, state };
}

test('a large file whose transfer breaks off is gone on with, in this pull and in the next', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  appendFileSync(join(theirs.folder, 'large'), noise(9_000_000, 99));
  const commit = ostree(`--repo=${theirs.path}`, 'commit', '-b', 'main', '--canonical-permissions', theirs.folder);
  const source = await createRepo(theirs.path);
  const { tree } = await readCommit(source, commit);
  const large = (await readDirTree(source, tree.contents)).files.get('large')!;
  const repo = await emptyRepo(base);
  const { url, state } = await fragile(t, theirs.path);
  state.left = 6_000_000;
  await assert.rejects(pull(repo, { url, refs: ['main'], retries: 0 }), { code: 'network' });
  const partial = join(repo.path, 'tmp/treeline-partial', `${large}.filez`);
  const kept = statSync(partial).size;
  assert.ok(kept > 1_000_000, `${kept} bytes were kept`);
  assert.equal(await readRef(repo, 'main'), null);
  const objects = countObjects(repo);
  state.left = 4_000_000; // breaks once more, and heals
  const healing = setInterval(() => {
    if (state.left === 0) state.left = Number.POSITIVE_INFINITY;
  }, 5);
  t.after(() => clearInterval(healing));
  state.requests.length = 0;
  const stats = await pull(repo, { url, refs: ['main'] });
  const ranges = state.requests.filter(({ path }) => path.includes(large.slice(2))).map(({ range }) => range);
  assert.equal(ranges[0], `bytes=${kept}-`);
  assert.ok(ranges.length >= 2);
  assert.ok(stats.metadataFetched + stats.contentFetched + objects <= countObjects(repo) + 1);
  assert.equal(listed(repo.path, 'main'), listed(theirs.path, 'main'));
  assert.deepEqual(readdirSync(join(repo.path, 'tmp/treeline-partial')), []);
});

test('a partial file that holds something else is thrown away, not stored', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const source = await createRepo(theirs.path);
  const { tree } = await readCommit(source, theirs.commit);
  const large = (await readDirTree(source, tree.contents)).files.get('large')!;
  const repo = await emptyRepo(base);
  mkdirSync(join(repo.path, 'tmp/treeline-partial'));
  const { url } = await fragile(t, theirs.path);
  for (const content of [noise(2_000_000, 5), Buffer.alloc(100), noise(9_000_000)]) {
    const start = statSync(join(theirs.path, 'objects', loosePath(large, 'filez'))).size;
    writeFileSync(join(repo.path, 'tmp/treeline-partial', `${large}.filez`), content.subarray(0, start + 10));
    rmSync(join(repo.path, 'objects', loosePath(large, 'filez')), { force: true });
    rmSync(join(repo.path, 'objects', loosePath(theirs.commit, 'commit')), { force: true });
    await pull(repo, { url, refs: ['main'] });
    ostree(`--repo=${repo.path}`, 'fsck');
  }
});

test('an aborted pull stops at once, keeps what came, and leaves no ref', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const files = plainFiles(theirs.path);
  const controller = new AbortController();
  let answered = 0;
  const url = await startServer(t, (req, res, path) => {
    if (answered++ === 40) return controller.abort();
    if (answered > 40) return; // never answers
    return files(req, res, path);
  });
  const repo = await emptyRepo(base);
  await assert.rejects(pull(repo, { url, refs: ['main'], signal: controller.signal }), { name: 'AbortError' });
  assert.ok(countObjects(repo) > 10, `${countObjects(repo)} objects`);
  assert.equal((await listRefs(repo)).size, 0);
  assert.equal((await fsck(repo)).commits, 0);
  assert.deepEqual(
    readdirSync(join(repo.path, 'tmp')).sort(),
    ['cache', 'treeline-partial'].filter((name) => existsSync(join(repo.path, 'tmp', name))),
  );
});

test('pulls that are killed at any moment leave a healthy repository, and one that is not, completes it', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const files = plainFiles(theirs.path);
  const url = await startServer(t, async (req, res, path) => {
    await sleep(2);
    return files(req, res, path);
  });
  const repo = await emptyRepo(base);
  const program = `
    const { createRepo, pull } = await import(${JSON.stringify(new URL('../index.ts', import.meta.url).href)});
    await pull(await createRepo(${JSON.stringify(repo.path)}), { url: ${JSON.stringify(url)}, refs: ['main'] });
  `;
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' });
    const ended = once(child, 'exit'); // a quick machine has done the whole pull before it would be killed
    await sleep(250 + 60 * round);
    child.kill('SIGKILL');
    await ended;
    const report = await fsck(repo);
    assert.deepEqual(report.damaged, []);
    assert.equal(report.danglingRefs.size, 0);
  }
  await pull(repo, { url, refs: ['main'] });
  assert.equal(listed(repo.path, 'main'), listed(theirs.path, 'main'));
  assert.deepEqual(
    readdirSync(join(repo.path, 'tmp')).filter((name) => /^treeline-[0-9a-f]{16}$/.test(name)),
    [],
  );
});

test('a tree of a thousand nested folders is no problem', async (t) => {
  const base = scratchFolder(t);
  const theirs = await createRepo(join(base, 'theirs'));
  await withTransaction(theirs, async (tx) => {
    let tree = tx.emptyTree();
    for (let depth = 0; depth < 1000; depth++) {
      tree = { contents: tx.writeDirTree({ files: new Map(), dirs: new Map([['d', tree]]) }), meta: tree.meta };
    }
    tx.setRef('main', await writeCommit(tx, { tree }));
  });
  const server = await serveRepository(theirs.path);
  t.after(() => server.close());
  const repo = await emptyRepo(base);
  const stats = await pull(repo, { url: server.url, refs: ['main'] });
  assert.equal(stats.metadataFetched, 1003);
  assert.deepEqual((await fsck(repo)).damaged, []);
});

test('progress ends with everything counted', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const url = await startServer(t, plainFiles(theirs.path));
  const repo = await emptyRepo(base);
  let last = { objects: 0, objectsKnown: 0, bytes: 0, rate: 0 };
  const stats = await pull(repo, { url, refs: ['main'], onProgress: (progress) => (last = progress) });
  assert.equal(last.objects, countObjects(repo));
  assert.equal(last.objectsKnown, last.objects);
  assert.equal(last.bytes, stats.bytesTransferred);
});
