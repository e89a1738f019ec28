import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readCollectionRef } from '../repo/collection-refs.ts';
import { addRemote } from '../repo/remotes.ts';
import { createRepo, openRepo, type Repo } from '../repo/repo.ts';
import { updateSummary } from '../summary/update.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { copyToMedium } from './copy-to-medium.ts';
import { findRemotes } from './find-remotes.ts';

const OS = { collection: 'org.example.Os', ref: 'os/main' };

async function upstream(path: string, date: string): Promise<{ repo: Repo; commit: string }> {
  ostree(`--repo=${path}`, 'init', '--mode=archive', `--collection-id=${OS.collection}`);
  const tree = `${path}-tree`;
  mkdirSync(tree);
  writeFileSync(join(tree, 'file'), date);
  const commit = ostree(`--repo=${path}`, 'commit', '-b', OS.ref, `--timestamp=${date}`, tree);
  const repo = await openRepo(path);
  await updateSummary(repo, { metadataCommit: false });
  return { repo, commit };
}

const keys = (url: string) =>
  new Map([
    ['url', url],
    ['collection-id', OS.collection],
    ['gpg-verify', 'false'],
  ]);

test('the newest commit that any remote has is found, whoever has it, and what cannot be reached is left out', async (t) => {
  const base = scratchFolder(t);
  const old = await upstream(join(base, 'old'), '2020-01-01 00:00:00 +0000');
  const fresh = await upstream(join(base, 'fresh'), '2021-01-01 00:00:00 +0000');
  const repo = await createRepo(join(base, 'repo'));
  await addRemote(repo, 'old', keys(`file://${old.repo.path}`));
  await addRemote(repo, 'fresh', keys(`file://${fresh.repo.path}`));
  await addRemote(repo, 'gone', keys(`file://${base}/gone`));
  const other = { collection: OS.collection, ref: 'nobody/has' };
  const found = await findRemotes(repo, [OS, other]);
  assert.deepEqual(
    found.map(({ remote, refs }) => [remote, refs.map(({ commit }) => commit)]),
    [['fresh', [fresh.commit, null]]],
  );
  assert.deepEqual(await findRemotes(repo, [other]), []);
  await assert.rejects(findRemotes(repo, [{ collection: 'x', ref: 'y' }]), { code: 'invalid' });
  await assert.rejects(findRemotes(repo, [{ ...OS, ref: '../y' }]), { code: 'invalid' });
});

test('a stick carries refs that are found on it, and links on it lead nowhere else', async (t) => {
  const base = scratchFolder(t);
  const { repo: source, commit } = await upstream(join(base, 'source'), '2021-01-01 00:00:00 +0000');
  const stick = join(base, 'stick');
  mkdirSync(stick);
  await copyToMedium(source, stick, [OS], { destination: 'some/where' });
  await copyToMedium(source, stick, [OS], { destination: 'some/where' });
  assert.ok(lstatSync(join(stick, '.ostree/repos.d/00-generated')).isSymbolicLink());
  const there = await openRepo(join(stick, 'some/where'));
  assert.equal(await readCollectionRef(there, OS), commit);
  ostree(`--repo=${there.path}`, 'fsck');

  const repo = await createRepo(join(base, 'repo'));
  const look = () => findRemotes(repo, [OS], { finders: ['mount'], mounts: [stick, join(base, 'no-such')] });
  assert.deepEqual(await look(), []); // nobody has said who signs this collection
  await addRemote(repo, 'os', keys('http://127.0.0.1:9/'));
  symlinkSync('/dev', join(stick, '.ostree/repos.d/99-elsewhere'));
  const [found, ...more] = await look();
  assert.deepEqual([found?.remote, found?.refs[0]?.commit, more.length], ['os', commit, 0]);
  for (const destination of ['../outside', '/outside']) {
    await assert.rejects(copyToMedium(source, stick, [OS], { destination }), { code: 'invalid' });
  }
  await assert.rejects(copyToMedium(source, stick, [{ ...OS, ref: 'none' }]), { code: 'not-found' });
  await assert.rejects(copyToMedium(source, base, [OS], { destination: 'source' }), /must not be the source/);
});
