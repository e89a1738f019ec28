import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeCommit } from '../commit/write-commit.ts';
import { updateSummary } from '../summary/update.ts';
import { firstLine } from '../testing/first-line.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { lockRepo } from './lock.ts';
import { readCommit, readDirTree } from './objects.ts';
import { listRefs, readRef, resolveRev, setRef } from './refs.ts';
import { createRepo, openRepo, type Repo } from './repo.ts';
import { withTransaction } from './transaction.ts';

function objectFiles(repo: Repo): string[] {
  return readdirSync(join(repo.path, 'objects'), { recursive: true, encoding: 'utf8' }).toSorted((a, b) =>
    a < b ? -1 : 1,
  );
}

async function repoWithCommits(t: TestContext, count: number): Promise<{ repo: Repo; commits: string[] }> {
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  const commits: string[] = [];
  for (let index = 0; index < count; index++) {
    commits.push(
      await withTransaction(repo, async (tx) => {
        const commit = await writeCommit(tx, {
          tree: tx.emptyTree(),
          timestamp: index,
          parent: commits.at(-1) ?? null,
        });
        tx.setRef('main', commit);
        return commit;
      }),
    );
  }
  return { repo, commits };
}

test('a new repository is one for libostree too, and making it again changes nothing', async (t) => {
  const path = join(scratchFolder(t), 'repo');
  await createRepo(path);
  ostree(`--repo=${path}`, 'fsck');
  await createRepo(path);
  await assert.rejects(createRepo(path, { mode: 'bare-user-only' }), { code: 'exists' });
});

test('what is no repository, or one of another kind, is refused with a reason', async (t) => {
  const base = scratchFolder(t);
  await assert.rejects(openRepo(join(base, 'none')), { code: 'not-found', message: /no such folder/ });
  await assert.rejects(openRepo(base), { code: 'not-found', message: /no config/ });
  for (const [text, code] of [
    ['[core]\nrepo_version=1\nmode=bare-split-xattrs\n', 'unsupported'],
    ['[core]\nrepo_version=2\nmode=archive\n', 'unsupported'],
    ['rubbish', 'invalid'],
    ['\0\0\0', 'invalid'],
  ] as const) {
    writeFileSync(join(base, 'config'), text);
    await assert.rejects(openRepo(base), { code });
  }
});

test('revisions are refs, checksums, their beginnings, and parents', async (t) => {
  const { repo, commits } = await repoWithCommits(t, 3);
  const [first, second, third] = commits as [string, string, string];
  assert.equal(await resolveRev(repo, 'main'), third);
  assert.equal(await resolveRev(repo, 'main^'), second);
  assert.equal(await resolveRev(repo, 'main^^'), first);
  assert.equal(await resolveRev(repo, third.slice(0, 10)), third);
  await assert.rejects(resolveRev(repo, 'main^^^'), { code: 'not-found', message: /no parent/ });
  for (const bad of ['nope', '../config', 'a b', '', ':', 'x:y', 'ffffffffff']) {
    await assert.rejects(resolveRev(repo, bad), { code: 'not-found' }, bad);
  }
  await setRef(repo, 'origin:main', first);
  assert.equal(await resolveRev(repo, 'origin:main'), first);
});

test("refs cannot leave their folder, and do not get in one another's way silently", async (t) => {
  const { repo, commits } = await repoWithCommits(t, 1);
  for (const bad of ['../x', 'a/../b', '/a', 'a/', 'a//b', 'a b', '', 'a\0b', '.', 'r:..', '..:a']) {
    await assert.rejects(setRef(repo, bad, commits[0]!), { code: 'invalid' }, bad);
  }
  await setRef(repo, 'a/b', commits[0]!);
  await assert.rejects(setRef(repo, 'a', commits[0]!), { code: 'exists' });
  await assert.rejects(setRef(repo, 'a/b/c', commits[0]!), { code: 'exists' });
  assert.deepEqual([...(await listRefs(repo)).keys()], ['a/b', 'main']);
  await setRef(repo, 'a/b', null);
  await setRef(repo, 'a', commits[0]!);
  assert.equal(ostree(`--repo=${repo.path}`, 'refs'), 'a\nmain');
});

test('a ref file that does not hold a checksum is reported, aliases are followed', async (t) => {
  const { repo, commits } = await repoWithCommits(t, 1);
  symlinkSync('main', join(repo.path, 'refs/heads/alias'));
  assert.equal(await readRef(repo, 'alias'), commits[0]);
  writeFileSync(join(repo.path, 'refs/heads/broken'), 'x'.repeat(1000));
  await assert.rejects(readRef(repo, 'broken'), { code: 'corrupt', message: /broken/ });
});

test('damaged and missing objects are named', async (t) => {
  const { repo, commits } = await repoWithCommits(t, 1);
  const { tree } = await readCommit(repo, commits[0]!);
  const path = join(repo.path, 'objects', tree.contents.slice(0, 2), `${tree.contents.slice(2)}.dirtree`);
  chmodSync(path, 0o644);
  writeFileSync(path, 'x');
  await assert.rejects(readDirTree(repo, tree.contents), { code: 'corrupt', message: new RegExp(tree.contents) });
  await assert.rejects(readCommit(repo, 'a'.repeat(64)), { code: 'not-found', message: /a{64}\.commit/ });
});

test('a transaction that fails leaves nothing, whatever it had written', async (t) => {
  const { repo } = await repoWithCommits(t, 1);
  const before = objectFiles(repo);
  await assert.rejects(
    withTransaction(repo, async (tx) => {
      await tx.writeFile({ uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: [] }, Buffer.from('x'));
      tx.setRef('new', 'b'.repeat(64));
      throw new RangeError('stop');
    }),
    RangeError,
  );
  assert.deepEqual(objectFiles(repo), before);
  assert.deepEqual(readdirSync(join(repo.path, 'tmp')), ['cache']);
  assert.equal(await readRef(repo, 'new'), null);
});

test('after a kill in the middle of a transaction the next one cleans up, and does not touch a living one', async (t) => {
  const { repo } = await repoWithCommits(t, 1);
  const index = new URL('../index.ts', import.meta.url).href;
  const code = `
    const { openRepo, withTransaction } = await import(${JSON.stringify(index)});
    await withTransaction(await openRepo(${JSON.stringify(repo.path)}), async (tx) => {
      await tx.writeFile({ uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: [] }, Buffer.from('staged'));
      console.log('ready');
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  await firstLine(child);
  const staging = () => readdirSync(join(repo.path, 'tmp')).filter((name) => name.startsWith('treeline-'));
  assert.equal(staging().length, 1);
  await withTransaction(repo, async () => {});
  assert.equal(staging().length, 1, 'the living transaction keeps its folder');
  child.kill('SIGKILL');
  await ended;
  await withTransaction(repo, async () => {});
  assert.deepEqual(staging(), []);
  ostree(`--repo=${repo.path}`, 'fsck');
});

test('libostree waits for our exclusive lock, and we for one another', async (t) => {
  const { repo } = await repoWithCommits(t, 1);
  const unlock = await lockRepo(repo, 'exclusive');
  const commit = spawn('ostree', [`--repo=${repo.path}`, 'commit', '-b', 'theirs', '--tree=ref=main'], {
    stdio: 'ignore',
  });
  const ended = once(commit, 'exit');
  const ours = withTransaction(repo, async () => 'done');
  await sleep(400);
  assert.equal(commit.exitCode, null);
  unlock();
  assert.equal(await ours, 'done');
  assert.deepEqual((await ended)[0], 0);
  mkdirSync(join(repo.path, 'x'));
});

test('the summary is one that ostree reads, with the size of each commit', async (t) => {
  const { repo, commits } = await repoWithCommits(t, 2);
  await setRef(repo, 'robot/edge', commits[0]!);
  await updateSummary(repo, { now: 1_700_000_000_000 });
  const shown = ostree(`--repo=${repo.path}`, 'summary', '-v');
  for (const text of ['main', 'robot/edge', ...commits, 'Last-Modified (ostree.summary.last-modified): 2023-11-14']) {
    assert.ok(shown.includes(text), `${text}\n${shown}`);
  }
});
