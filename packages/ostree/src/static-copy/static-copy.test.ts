import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeFolder } from '../commit/folder.ts';
import { writeCommit } from '../commit/write-commit.ts';
import { generateDelta } from '../delta/generate.ts';
import { deltaFolder } from '../delta/names.ts';
import { deleteDelta } from '../delta/stored.ts';
import type { Checksum } from '../formats/object-name.ts';
import { prune } from '../prune/prune.ts';
import { readRef, setRef } from '../repo/refs.ts';
import { createRepo, openRepo, type Repo, writeConfig } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { signCommit } from '../sign/sign.ts';
import { ed25519Signer, gpgSigner } from '../sign/signer.ts';
import { updateSummary } from '../summary/update.ts';
import { ed25519Keys } from '../testing/ed25519-keys.ts';
import { gpgHome } from '../testing/gpg.ts';
import { pythonServer } from '../testing/http-server.ts';
import { writeSampleFolder } from '../testing/sample-repo.ts';
import { ostree, ostreeMeanwhile, scratchFolder } from '../testing/scratch.ts';
import { exportStatic } from './static-copy.ts';

/** Commits the sample folder with one file that is another each time. */
async function release(repo: Repo, folder: string, text: string): Promise<Checksum> {
  const parent = await readRef(repo, 'os/stable');
  writeFileSync(join(folder, 'usr/version'), `${text}\n`.repeat(50));
  return withTransaction(repo, async (tx) => {
    const tree = await writeFolder(tx, folder, { canonicalPermissions: true });
    const commit = await writeCommit(tx, { tree, parent, subject: text, timestamp: 1000 });
    tx.setRef('os/stable', commit);
    return commit;
  });
}

async function setUp(t: TestContext) {
  const base = scratchFolder(t);
  const folder = join(base, 'folder');
  writeSampleFolder(folder);
  const repo = await createRepo(join(base, 'repo'));
  const first = await release(repo, folder, 'first');
  const second = await release(repo, folder, 'second');
  await generateDelta(repo, { from: first, to: second });
  await updateSummary(repo);
  return { base, folder, repo, first, second, copy: join(base, 'copy') };
}

/** Every file and folder with what tells whether it was touched. */
function state(root: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const path of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    const { ino, mtimeMs, ctimeMs, size } = statSync(join(root, path));
    found.set(path, [ino, mtimeMs, ctimeMs, size].join(' '));
  }
  return found;
}

test('a stock client pulls from a plain web server on it: by ref, by checksum, with a delta, signed', async (t) => {
  const { base, repo, first, second, copy } = await setUp(t);
  const home = gpgHome(t);
  const signer = gpgSigner({ keyId: home.newKey('Ann <ann@example.com>'), homedir: home.path });
  for (const commit of [first, second]) await signCommit(repo, commit, [signer]);
  await deleteDelta(repo, { from: first, to: second });
  await generateDelta(repo, { from: first, to: second }); // which holds the signatures, too
  await updateSummary(repo, { signers: [signer] });
  const done = await exportStatic(repo.path, copy);
  assert.ok(done.files > 70 && done.refs === 1 && done.summary && done.bytesCopied === 0);
  const url = await pythonServer(t, copy);
  writeFileSync(join(base, 'keys.gpg'), home.gpg('--export'));
  for (const mode of ['archive', 'bare-user']) {
    const client = join(base, mode);
    ostree(`--repo=${client}`, 'init', `--mode=${mode}`);
    const keys = ['--set=gpg-verify-summary=true', `--gpg-import=${join(base, 'keys.gpg')}`];
    ostree(`--repo=${client}`, 'remote', 'add', ...keys, 'origin', url);
    await ostreeMeanwhile(`--repo=${client}`, 'pull', 'origin', first);
    const delta = mode === 'archive' ? [] : ['--require-static-deltas'];
    await ostreeMeanwhile(`--repo=${client}`, 'pull', ...delta, 'origin', 'os/stable');
    assert.equal(ostree(`--repo=${client}`, 'rev-parse', 'origin:os/stable'), second);
    ostree(`--repo=${client}`, 'fsck');
  }
  // It can also be pulled from by its path.
  const local = join(base, 'local');
  ostree(`--repo=${local}`, 'init', '--mode=archive');
  ostree(`--repo=${local}`, 'pull-local', copy, 'os/stable');
});

test('a second run touches nothing, and takes in what is new alone', async (t) => {
  const { folder, repo, copy } = await setUp(t);
  await exportStatic(repo.path, copy);
  const before = state(copy);
  const again = await exportStatic(repo.path, copy, { deleteAfter: 0 });
  assert.deepEqual(again, { files: 0, bytesCopied: 0, refs: 0, summary: false, deleted: 0, waiting: 0 });
  const quiet = (path: string) => !path.startsWith('.treeline-export');
  const same = (a: Map<string, string>, b: Map<string, string>) =>
    [...new Set([...a.keys(), ...b.keys()])].filter((path) => quiet(path) && a.get(path) !== b.get(path));
  assert.deepEqual(same(before, state(copy)), []);
  const third = await release(repo, folder, 'third');
  await updateSummary(repo);
  const next = await exportStatic(repo.path, copy);
  assert.deepEqual([next.files, next.refs, next.summary], [4, 1, true]); // a file, two folders, a commit
  const touched = same(before, state(copy)).filter((path) => !statSync(join(copy, path)).isDirectory());
  assert.equal(touched.length, 4 + 2); // and the ref and the summary
  assert.equal(readFileSync(join(copy, 'refs/heads/os/stable'), 'utf8'), `${third}\n`);
});

test('what clients have no business with is not in it', async (t) => {
  const { base, repo, copy } = await setUp(t);
  repo.config.set('remote "up"', new Map([['url', 'https://user:secret@example.org/']]));
  repo.config.get('core')!.set('parent', base);
  await writeConfig(repo, repo.config);
  mkdirSync(join(repo.path, 'refs/remotes/up'), { recursive: true });
  writeFileSync(join(repo.path, 'refs/remotes/up/main'), `${'a'.repeat(64)}\n`);
  for (const path of [
    'objects/aa/secret',
    'objects/notes',
    'deltas/xx/secret',
    'summary.bak',
    'extensions/x',
    'tmp/x',
  ]) {
    mkdirSync(join(repo.path, path, '..'), { recursive: true });
    writeFileSync(join(repo.path, path), 'secret');
  }
  repo.config.get('core')!.delete('parent');
  await writeConfig(repo, repo.config);
  await exportStatic(repo.path, copy);
  const files = readdirSync(copy, { recursive: true, encoding: 'utf8' });
  for (const path of files) {
    if (statSync(join(copy, path)).isDirectory()) continue;
    assert.ok(!readFileSync(join(copy, path), 'latin1').includes('secret'), path);
    assert.doesNotMatch(path, /remotes|extensions|tmp|bak/);
  }
  assert.deepEqual([...(await openRepo(copy)).config.keys()], ['core']);
});

test('hard links where it can, copies where it is told to; both are as good, and may be mixed', async (t) => {
  const { base, folder, repo, second, copy } = await setUp(t);
  const object = join('objects', second.slice(0, 2), `${second.slice(2)}.commit`);
  await exportStatic(repo.path, copy, { mode: 'link' });
  assert.equal(statSync(join(copy, object)).ino, statSync(join(repo.path, object)).ino);
  const other = join(base, 'other');
  const done = await exportStatic(repo.path, other, { mode: 'copy' });
  assert.ok(done.bytesCopied > 3_000_000);
  assert.notEqual(statSync(join(other, object)).ino, statSync(join(repo.path, object)).ino);
  for (const where of [copy, other]) {
    await release(repo, folder, `for ${where}`);
    await updateSummary(repo);
    await exportStatic(repo.path, where, { mode: where === copy ? 'copy' : 'auto' });
    ostree('fsck', `--repo=${where}`);
    assert.deepEqual(await exportStatic(repo.path, where, { mode: 'link' }), {
      ...{ files: 0, bytesCopied: 0, refs: 0, summary: false, deleted: 0, waiting: 0 },
    });
  }
  const shared = join('/dev/shm', `treeline-export-${process.pid}`);
  t.after(() => rmSync(shared, { recursive: true, force: true }));
  if (statSync('/dev/shm').dev === statSync(base).dev) return;
  await assert.rejects(exportStatic(repo.path, shared, { mode: 'link' }), { code: 'unsupported', message: /EXDEV/ });
  await exportStatic(repo.path, shared);
  ostree('fsck', `--repo=${shared}`);
});

test('what the repository has dropped goes when it is told to, names at once and what is named later', async (t) => {
  const { folder, repo, first, second, copy } = await setUp(t);
  await setRef(repo, 'os/old', first);
  await updateSummary(repo);
  await exportStatic(repo.path, copy);
  await setRef(repo, 'os/old', null);
  await deleteDelta(repo, { from: first, to: second });
  const third = await release(repo, folder, 'third');
  await updateSummary(repo);
  await prune(repo, { refsOnly: true, depth: 0 });
  assert.deepEqual(await exportStatic(repo.path, copy).then(({ deleted, waiting }) => [deleted, waiting]), [0, 0]);
  const has = (commit: Checksum) => existsSync(join(copy, 'objects', commit.slice(0, 2), `${commit.slice(2)}.commit`));
  const delta = join(copy, deltaFolder(first, second));
  assert.ok(existsSync(join(copy, 'refs/heads/os/old')) && has(first) && existsSync(delta));
  const soon = await exportStatic(repo.path, copy, { deleteAfter: 2 });
  assert.deepEqual([soon.deleted, soon.waiting > 5], [2, true]); // the ref and the delta's index
  assert.ok(!existsSync(join(copy, 'refs/heads/os/old')) && has(first) && existsSync(delta));
  assert.equal((await exportStatic(repo.path, copy, { deleteAfter: 3600 })).deleted, 0);
  await sleep(2100);
  const late = await exportStatic(repo.path, copy, { deleteAfter: 2 });
  assert.deepEqual([late.deleted > 5, late.waiting], [true, 0]);
  assert.ok(!has(first) && !has(second) && has(third) && !existsSync(delta));
  ostree('fsck', `--repo=${copy}`);
});

test('a ref may take the place of a folder of refs, and the other way round', async (t) => {
  const { repo, first, copy } = await setUp(t);
  await setRef(repo, 'a/b/c', first);
  await exportStatic(repo.path, copy);
  await setRef(repo, 'a/b/c', null);
  await setRef(repo, 'a', first);
  await exportStatic(repo.path, copy);
  assert.equal(await readRef(await openRepo(copy), 'a'), first);
  await setRef(repo, 'a', null);
  await setRef(repo, 'a/b', first);
  await exportStatic(repo.path, copy);
  assert.equal(await readRef(await openRepo(copy), 'a/b'), first);
});

test('whatever fractions of a second a file was written at, its copy is known to be one', async (t) => {
  const { repo, second, copy } = await setUp(t);
  await signCommit(repo, second, [ed25519Signer(ed25519Keys().secret)]);
  const meta = join(repo.path, 'objects', second.slice(0, 2), `${second.slice(2)}.commitmeta`);
  const counts: number[] = [];
  for (const fraction of [0.0001, 0.123, 0.1234, 0.1235, 0.1237, 0.9999]) {
    utimesSync(meta, 1_700_000_000, 1_700_000_000 + counts.length + fraction);
    await exportStatic(repo.path, copy, { mode: 'copy' });
    counts.push((await exportStatic(repo.path, copy, { mode: 'copy' })).files);
  }
  assert.deepEqual(counts, [0, 0, 0, 0, 0, 0]);
});

test('signatures that are added later are taken over', async (t) => {
  const { repo, second, copy } = await setUp(t);
  const signer = () => ed25519Signer(ed25519Keys().secret);
  await signCommit(repo, second, [signer()]);
  await exportStatic(repo.path, copy, { mode: 'copy' });
  const meta = join('objects', second.slice(0, 2), `${second.slice(2)}.commitmeta`);
  await sleep(5);
  await signCommit(repo, second, [signer()]);
  assert.equal((await exportStatic(repo.path, copy)).files, 1);
  assert.deepEqual(readFileSync(join(copy, meta)), readFileSync(join(repo.path, meta)));
});

test('killed at any time, it leaves a copy that is whole as far as it tells, and goes on from there', async (t) => {
  const { base, folder, repo, copy } = await setUp(t);
  const program = `
    const { exportStatic } = await import(${JSON.stringify(new URL('./static-copy.ts', import.meta.url).href)});
    const at = Number(process.argv[1]);
    await exportStatic(${JSON.stringify(repo.path)}, ${JSON.stringify(copy)}, {
      mode: 'copy',
      onProgress: ({ done }) => done === at && process.kill(process.pid, 'SIGKILL'),
    });`;
  const run = async (at: number) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program, String(at)], { stdio: 'inherit' });
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
    return signal;
  };
  for (let round = 0; round < 4; round++) {
    for (const at of [1, 3 + round * 20]) {
      if ((await run(at)) === null) break;
      if (!existsSync(join(copy, 'config'))) continue;
      ostree('fsck', `--repo=${copy}`); // each commit that is there has what it needs
    }
    assert.equal(await run(0), null);
    ostree('fsck', `--repo=${copy}`);
    assert.deepEqual(readFileSync(join(copy, 'summary')), readFileSync(join(repo.path, 'summary')));
    assert.deepEqual(readdirSync(join(copy, '.treeline-export/waiting')), []);
    await release(repo, folder, `round ${round}`);
    await updateSummary(repo);
  }
  assert.ok(existsSync(base));
});

test('clients pull from the copy while releases, prunes and exports go on', async (t) => {
  const { base, folder, repo, copy } = await setUp(t);
  await exportStatic(repo.path, copy);
  const url = await pythonServer(t, copy);
  let going = true;
  const pulls = [0, 1].map(async (index) => {
    let count = 0;
    for (; going || count < 2; count++) {
      const client = join(base, `client-${index}-${count}`);
      ostree(`--repo=${client}`, 'init', '--mode=bare-user');
      ostree(`--repo=${client}`, 'remote', 'add', '--no-gpg-verify', 'origin', url);
      await ostreeMeanwhile(`--repo=${client}`, 'pull', 'origin', 'os/stable');
      await ostreeMeanwhile(`--repo=${client}`, 'fsck');
      rmSync(client, { recursive: true });
    }
    return count;
  });
  const settled = Promise.allSettled(pulls);
  const until = Date.now() + 6000;
  let versions = 0;
  try {
    for (; versions < 4 || Date.now() < until; versions++) {
      const from = (await readRef(repo, 'os/stable'))!;
      const to = await release(repo, folder, `version ${versions}`);
      if (versions % 2 === 0) await generateDelta(repo, { from, to });
      await updateSummary(repo);
      const exported = exportStatic(repo.path, copy, { deleteAfter: 120 });
      if (versions % 3 === 0) await prune(repo, { refsOnly: true, depth: 1 });
      await exported;
    }
  } finally {
    going = false;
    await settled;
  }
  const counts = await Promise.all(pulls);
  t.diagnostic(`${counts.join(' and ')} pulls of ${versions} versions`);
  ostree('fsck', `--repo=${copy}`);
});

test('it does not write into what is no copy, nor into the repository itself', async (t) => {
  const { base, repo, copy } = await setUp(t);
  const other = join(base, 'other');
  await createRepo(other);
  await assert.rejects(exportStatic(repo.path, other), { code: 'exists', message: /holds something else/ });
  mkdirSync(copy);
  writeFileSync(join(copy, 'index.html'), 'mine');
  await assert.rejects(exportStatic(repo.path, copy, { deleteAfter: 0 }), { code: 'exists' });
  assert.equal(readFileSync(join(copy, 'index.html'), 'utf8'), 'mine');
  for (const place of [repo.path, join(repo.path, 'www'), base]) {
    await assert.rejects(exportStatic(repo.path, place), { code: 'invalid' });
  }
  await createRepo(join(base, 'bare'), { mode: 'bare-user' });
  await assert.rejects(exportStatic(join(base, 'bare'), join(base, 'x')), { code: 'unsupported' });
  await assert.rejects(exportStatic(repo.path, join(base, 'y'), { signal: AbortSignal.abort() }), {
    name: 'AbortError',
  });
  // Files of one's own beside those of the repository stay.
  const mixed = join(base, 'mixed');
  await exportStatic(repo.path, mixed);
  writeFileSync(join(mixed, 'index.html'), 'mine');
  chmodSync(join(mixed, 'index.html'), 0o600);
  utimesSync(join(mixed, 'index.html'), 1, 1);
  await exportStatic(repo.path, mixed, { deleteAfter: 0 });
  assert.equal(statSync(join(mixed, 'index.html')).mtimeMs, 1000);
});
