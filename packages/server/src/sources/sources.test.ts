import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { hasClosure, lookUp, metadataValue, readCommit, readFileObject, readRef, treeReader } from '@treeline/ostree';
import type { Core } from '../core.ts';
import { createTestCore } from '../testing/core.ts';
import { createGitRepository } from '../testing/git-repository.ts';
import { scratch } from '../testing/scratch.ts';
import { createSources } from './sources.ts';
import type { RevisionRow } from './tables.ts';

const PIPELINE = 'image: host\njobs:\n  t: { run: x }\n';

async function setUp(t: TestContext) {
  const core = await createTestCore(t);
  const repo = createGitRepository(`${scratch(t)}/app`);
  return { core, repo, sources: createSources(core) };
}

const newest = async (core: Core): Promise<RevisionRow> =>
  await core.db.selectFrom('revisions').selectAll().orderBy('created_at', 'desc').limit(1).executeTakeFirstOrThrow();

const runs = async (core: Core) => await core.db.selectFrom('runs').selectAll().orderBy('number').execute();

async function fileAt(core: Core, row: RevisionRow, path: string) {
  const found = lookUp(treeReader(core.store), { contents: row.contents, meta: row.meta }, path);
  assert.equal(found?.kind, 'file', path);
  const file = await readFileObject(core.store, (found as { checksum: string }).checksum);
  return { header: file.header, text: (await buffer(file.content())).toString('utf8') };
}

test('a source commit is what git has: modes, symlinks, odd names; whatever .gitattributes says', async (t) => {
  const { core, repo, sources } = await setUp(t);
  const revision = repo.commit('Say $Format:%H$', {
    'treeline.yaml': PIPELINE,
    '.gitattributes': 'secret export-ignore\nversion export-subst\n*.txt text eol=crlf\n',
    secret: 'kept\n',
    version: '$Format:%H$\n',
    'lines.txt': 'one\ntwo\n',
    'bin/run': { executable: '#!/bin/sh\n' },
    link: { symlink: '../outside/$x' },
    'odd "näme" \\ \u{1F332}': 'tree\n',
    empty: '',
    ...Object.fromEntries([[`${'x'.repeat(120)}/${'y'.repeat(120)}`, 'long\n']]),
  });
  await sources.add({ name: 'app', url: repo.path }, null);
  const row = await newest(core);
  assert.equal(row.revision, revision);
  assert.equal(row.pipeline, PIPELINE);
  const read = (path: string) => fileAt(core, row, path);
  assert.equal((await read('/secret')).text, 'kept\n');
  assert.equal((await read('/version')).text, '$Format:%H$\n');
  assert.equal((await read('/lines.txt')).text, 'one\ntwo\n');
  assert.equal((await read('/odd "näme" \\ \u{1F332}')).text, 'tree\n');
  assert.equal((await read(`/${'x'.repeat(120)}/${'y'.repeat(120)}`)).text, 'long\n');
  assert.equal((await read('/empty')).text, '');
  assert.equal((await read('/bin/run')).header.mode, 0o100755);
  assert.equal((await read('/secret')).header.mode, 0o100644);
  assert.equal((await read('/secret')).header.uid, 0);
  assert.equal((await read('/link')).header.symlinkTarget, '../outside/$x');
  assert.deepEqual(await hasClosure(core.store, { contents: row.contents, meta: row.meta }), []);

  const commit = await readCommit(core.store, row.commit);
  assert.equal(commit.subject, 'Say $Format:%H$');
  assert.equal(commit.timestamp, Number(repo.git('log', '-1', '--format=%ct')));
  const metadata = Object.fromEntries(
    ['project', 'git-url', 'git-revision', 'git-branch'].map((key) => [
      key,
      metadataValue(commit.metadata, `treeline.${key}`)?.value,
    ]),
  );
  assert.deepEqual(metadata, { project: 'app', 'git-url': repo.path, 'git-revision': revision, 'git-branch': 'main' });
  assert.equal(await readRef(core.store, `sources/app/${revision}`), row.commit);
});

test('the same tree is the same whoever checks it out, whatever umask the server has', async (t) => {
  const { core, repo, sources } = await setUp(t);
  repo.commit('one', { 'treeline.yaml': PIPELINE, 'dir/file': '1' });
  const before = process.umask(0o077);
  t.after(() => process.umask(before));
  await sources.add({ name: 'a', url: repo.path }, null);
  process.umask(0o002);
  await sources.add({ name: 'b', url: repo.path }, null);
  const rows = await core.db.selectFrom('revisions').selectAll().execute();
  assert.equal(rows.length, 2);
  assert.deepEqual([rows[0]?.contents, rows[0]?.meta], [rows[1]?.contents, rows[1]?.meta]);
});

test('LFS pointers become the files that they point to', async (t) => {
  const { core, repo, sources } = await setUp(t);
  try {
    execFileSync('git', ['lfs', 'version'], { stdio: 'ignore' });
  } catch {
    t.skip('git-lfs is not installed here: apt install git-lfs');
    return;
  }
  repo.git('lfs', 'install', '--local');
  const image = Buffer.from(createHash('sha512').update('image').digest('hex'));
  repo.commit('Add an image', {
    'treeline.yaml': PIPELINE,
    '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n',
    'data/image.bin': image,
  });
  assert.match(repo.git('show', 'HEAD:data/image.bin'), /git-lfs/);
  await sources.add({ name: 'app', url: repo.path }, null);
  const [project] = await core.db.selectFrom('projects').selectAll().execute();
  assert.equal(project?.error, null);
  assert.equal((await fileAt(core, await newest(core), '/data/image.bin')).text, image.toString());
});

test('a push makes one run; looking again makes none; what is pushed together is one run', async (t) => {
  const { core, repo, sources } = await setUp(t);
  repo.commit('one', { 'treeline.yaml': PIPELINE });
  await sources.add({ name: 'app', url: repo.path }, null);
  await sources.poll();
  assert.deepEqual(
    (await runs(core)).map((run) => run.reason),
    ['push to app: one'],
  );
  repo.commit('two', { a: '2' });
  const three = repo.commit('three', { a: '3' });
  await Promise.all([sources.poll(), sources.poll()]);
  const all = await runs(core);
  assert.deepEqual(
    all.map((run) => run.reason),
    ['push to app: one', 'push to app: three'],
  );
  assert.equal(all[1]?.trigger_revision, three);
});

test('a run by hand can be of any revision; the others are the newest', async (t) => {
  const { core, repo, sources } = await setUp(t);
  const one = repo.commit('one', { 'treeline.yaml': PIPELINE });
  repo.git('tag', 'v1');
  repo.commit('two', { a: '2' });
  await sources.add({ name: 'app', url: repo.path, run: false }, null);
  assert.deepEqual(await runs(core), []);
  const run = await sources.run('app', { by: null, revision: 'v1' });
  const manifest = await core.db.selectFrom('run_manifests').selectAll().where('run_id', '=', run.id).execute();
  assert.deepEqual(
    manifest.map((entry) => entry.revision),
    [one],
  );
  await assert.rejects(sources.run('app', { by: null, revision: 'nope' }), { code: 'source-invalid' });
  await assert.rejects(sources.run('none', { by: null }), { code: 'not-found', hint: /app/ });
});

test('a repository that goes away is noted in its project, told once, and forgotten when it is back', async (t) => {
  const { core, repo, sources } = await setUp(t);
  repo.commit('one', { 'treeline.yaml': PIPELINE });
  await sources.add({ name: 'app', url: repo.path, run: false }, null);
  const { renameSync } = await import('node:fs');
  renameSync(repo.path, `${repo.path}.away`);
  await sources.poll();
  await sources.poll();
  const project = async () => await core.db.selectFrom('projects').selectAll().executeTakeFirstOrThrow();
  assert.match((await project()).error ?? '', /source-unreachable/);
  const events = (await core.events.since(0)).filter((event) => event.type === 'project.failed');
  assert.equal(events.length, 1);
  renameSync(`${repo.path}.away`, repo.path);
  await sources.poll();
  assert.equal((await project()).error, null);
  assert.deepEqual(await runs(core), []);
});

test('a treeline.yaml that is a symlink or huge is refused, and the project says so', async (t) => {
  const { core, repo, sources } = await setUp(t);
  repo.commit('one', { 'treeline.yaml': { symlink: '/etc/passwd' } });
  await sources.add({ name: 'app', url: repo.path }, null);
  const project = await core.db.selectFrom('projects').selectAll().executeTakeFirstOrThrow();
  assert.match(project.error ?? '', /symlink or too large/);
  assert.equal(project.head, null);
});
