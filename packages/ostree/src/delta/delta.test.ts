import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { OstreeError } from '../errors.ts';
import { createRepo, openRepo, type RepoMode } from '../repo/repo.ts';
import { repositoryHandler } from '../serve/handler.ts';
import { updateSummary } from '../summary/update.ts';
import { startServer } from '../testing/http.ts';
import { noise } from '../testing/sample-repo.ts';
import { ostree, ostreeMeanwhile, scratchFolder } from '../testing/scratch.ts';
import { type GenerateDeltaOptions, generateDelta } from './generate.ts';
import { updateDeltaIndexes } from './index-file.ts';
import { deltaFolder, deltaName } from './names.ts';
import { applyOfflineDelta } from './offline.ts';
import { showDelta } from './show.ts';
import { deleteDelta, hasDelta, listDeltaIndexes, listDeltas } from './stored.ts';
import { decodeSuperblock, encodeSuperblock } from './superblock.ts';

/** Text that changes here and there. */
function text(lines: number, change = 0): string {
  return Array.from(
    { length: lines },
    (_, line) => `line ${line} of ${line % 17 === change ? 'changed' : 'some'} text\n`,
  ).join('');
}

/** Machine code of a kind: the same but for addresses, which have moved. */
function code(moved: number): Buffer {
  const data = noise(60_000, 5);
  for (let at = 0; at < data.length - 4; at += 40) data.writeUInt32LE(((at * 7) % 30_000) + moved, at);
  return data;
}

function write(folder: string, files: Record<string, string | Buffer>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
}

interface Sample {
  path: string;
  from: string;
  to: string;
}

/** An archive repository, made by libostree, with two releases. */
function twoReleases(t: TestContext): Sample {
  const base = scratchFolder(t);
  const path = join(base, 'repo');
  const folder = join(base, 'tree');
  const large = noise(300_000, 9);
  ostree(`--repo=${path}`, 'init', '--mode=archive');
  write(folder, {
    'usr/bin/tool': code(0),
    'usr/lib/libx.so.1.2': code(3),
    'usr/lib/modules/6.1.0-50/kernel/x.ko': code(9),
    'usr/share/text': text(5000),
    'usr/share/gone': 'gone',
    'usr/share/large': large,
    'usr/share/same': text(100),
    'usr/share/secret': noise(30_000, 4),
    'usr/share/mode': noise(50_000, 6),
    'usr/empty': '',
  });
  chmodSync(join(folder, 'usr/share/secret'), 0o600);
  const commit = () => {
    const options = ['-b', 'main', '-s', 'release', '--owner-uid=0', '--owner-gid=0', '--no-xattrs'];
    return ostree(`--repo=${path}`, 'commit', ...options, folder);
  };
  const from = commit();
  rmSync(join(folder, 'usr/share/gone'));
  rmSync(join(folder, 'usr/lib'), { recursive: true });
  write(folder, {
    'usr/bin/tool': Buffer.concat([noise(7, 2), code(4096)]),
    'usr/lib/libx.so.1.3': Buffer.concat([code(3), noise(50, 8)]),
    'usr/lib/modules/6.1.0-56/kernel/x.ko': code(77),
    'usr/share/text': text(5000, 3),
    'usr/share/large': Buffer.concat([large.subarray(0, 100_000), noise(9, 1), large.subarray(100_000)]),
    'usr/share/secret': Buffer.concat([noise(30_000, 4), noise(3)]),
    'usr/share/new': noise(40_000, 20),
    'usr/share/fallback': noise(220_000, 30),
  });
  chmodSync(join(folder, 'usr/share/mode'), 0o755);
  return { path, from, to: commit() };
}

async function generate(sample: Sample, options: Partial<GenerateDeltaOptions> = {}) {
  const { path, from, to } = sample;
  const given = { timestamp: 1_700_000_000, minFallbackBytes: 200_000, ...options };
  return generateDelta(await openRepo(path), { from, to, ...given });
}

/** Checks with libostree's own fsck that a commit is there and whole. */
function assertWhole(repo: string, commit: string): void {
  assert.match(ostree(`--repo=${repo}`, 'fsck', commit), /no errors found/);
  assert.ok(!existsSync(join(repo, 'state', `${commit}.commitpartial`)));
}

test('makes a small delta: sources by path, version and base name, and a fallback for what is large and new', async (t) => {
  const sample = twoReleases(t);
  const delta = await generate(sample);
  assert.deepEqual(
    delta.fallbacks.map(({ unpackedSize }) => unpackedSize),
    [220_000],
  );
  assert.equal(delta.stats.modified, 6);
  assert.ok(delta.stats.patched >= 2, `${delta.stats.patched} patched`);
  assert.ok(delta.stats.copied >= 1, `${delta.stats.copied} copied`);
  // What is new is the 40,000 bytes of one file, 30,003 of one that not everybody may read, and addresses.
  assert.ok(delta.size < 85_000, `${delta.size} bytes`);
  const { superblock, parts } = await showDelta(await openRepo(sample.path), deltaName(sample.from, sample.to));
  assert.equal(superblock.timestamp, 1_700_000_000);
  assert.equal(parts[0]!.operations.B, delta.stats.patched);
  // libostree reads the same out of it.
  const shown = ostree(`--repo=${sample.path}`, 'static-delta', 'show', deltaName(sample.from, sample.to));
  assert.match(shown, new RegExp(`bspatch=${delta.stats.patched}`));
  assert.match(shown, /Endianness: little\n/);
});

test('finds the source of a file that has moved and changed its name by what is in it', async (t) => {
  const base = scratchFolder(t);
  const path = join(base, 'repo');
  const folder = join(base, 'tree');
  ostree(`--repo=${path}`, 'init', '--mode=archive');
  write(folder, { 'opt/engine/main': noise(100_000, 3), 'opt/engine/other': noise(100_000, 4) });
  const from = ostree(`--repo=${path}`, 'commit', '-b', 'main', folder);
  rmSync(join(folder, 'opt'), { recursive: true });
  const moved = Buffer.concat([noise(500, 9), noise(100_000, 3)]);
  write(folder, { 'usr/libexec/motor': moved, 'usr/libexec/unlike': noise(50_000, 8) });
  const to = ostree(`--repo=${path}`, 'commit', '-b', 'main', folder);
  const { stats, size } = await generate({ path, from, to });
  assert.equal(stats.modified, 1);
  assert.ok(size < 53_000, `${size} bytes`);
});

test('makes the same parts each time', async (t) => {
  const sample = twoReleases(t);
  const digest = async (options: Partial<GenerateDeltaOptions>) => {
    const { path } = await generate(sample, options);
    const folder = dirname(path);
    return readdirSync(folder)
      .sort()
      .map((name) => `${name} ${hash('sha256', readFileSync(join(folder, name)))}`);
  };
  const first = await digest({});
  assert.deepEqual(await digest({ memoryBytes: 1 }), first);
  assert.ok((await digest({ maxPartBytes: 100_000 })).length > first.length);
  // Parts of the one before that are not of this one are gone.
  assert.deepEqual(await digest({}), first);
});

for (const mode of ['bare-user', 'bare'] as const) {
  test(`is pulled by libostree over HTTP into a ${mode} repository`, async (t) => {
    const sample = twoReleases(t);
    await generate(sample);
    await updateSummary(await openRepo(sample.path));
    const requested: string[] = [];
    const handler = repositoryHandler(sample.path);
    const url = await startServer(t, (req, res, path) => {
      requested.push(path);
      return handler(req, res, path);
    });
    const client = join(dirname(sample.path), 'client');
    ostree(`--repo=${client}`, 'init', `--mode=${mode}`);
    ostree(`--repo=${client}`, 'remote', 'add', '--no-gpg-verify', 'origin', url);
    await ostreeMeanwhile(`--repo=${client}`, 'pull', 'origin', `main@${sample.from}`);
    requested.length = 0;
    const said = await ostreeMeanwhile(`--repo=${client}`, 'pull', '--require-static-deltas', 'origin', 'main');
    // 2022.7 may ask for objects, too, that a part is just about to give it.
    assert.match(said, /1 delta parts/);
    assertWhole(client, sample.to);
    const delta = encodeURI(`/${deltaFolder(sample.from, sample.to)}`);
    for (const name of ['superblock', '0']) assert.ok(requested.includes(`${delta}/${name}`), requested.join('\n'));
  });
}

test('is applied offline by libostree, inline and big-endian too', async (t) => {
  const sample = twoReleases(t);
  for (const [index, options] of [{}, { inline: true }, { endianness: 'big' as const }, { bsdiff: false }].entries()) {
    const client = join(dirname(sample.path), `client-${index}`);
    ostree(`--repo=${client}`, 'init', '--mode=bare-user');
    ostree(`--repo=${client}`, 'pull-local', sample.path, sample.from);
    const { path } = await generate(sample, { minFallbackBytes: 0, ...options });
    if (options.inline) assert.deepEqual(readdirSync(dirname(path)), ['superblock']);
    ostree(`--repo=${client}`, 'static-delta', 'apply-offline', dirname(path));
    assertWhole(client, sample.to);
  }
});

for (const mode of ['archive', 'bare', 'bare-user'] satisfies RepoMode[]) {
  test(`applies deltas of libostree and its own offline into ${mode}`, async (t) => {
    const sample = twoReleases(t);
    const base = dirname(sample.path);
    const theirs = join(base, 'theirs/superblock');
    mkdirSync(dirname(theirs));
    const revisions = [`--from=${sample.from}`, `--to=${sample.to}`];
    const make = (...options: string[]) =>
      ostree(`--repo=${sample.path}`, 'static-delta', 'generate', ...revisions, '--min-fallback-size=0', ...options);
    make(`--filename=${theirs}`);
    make('--inline', '--set-endianness=B', `--filename=${join(base, 'inline')}`);
    make('--disable-bsdiff');
    const rollsum = join(base, 'rollsum');
    cpSync(join(sample.path, deltaFolder(sample.from, sample.to)), rollsum, { recursive: true });
    const ours = await generate(sample, { minFallbackBytes: 0 });
    const scratch = await generate(sample, { from: null, minFallbackBytes: 0, maxPartBytes: 1_000_000 });
    for (const path of [dirname(theirs), join(base, 'inline'), rollsum, ours.path, scratch.path]) {
      const client = join(base, 'client');
      rmSync(client, { recursive: true, force: true });
      const repo = await createRepo(client, { mode });
      if (path !== scratch.path) ostree(`--repo=${client}`, 'pull-local', sample.path, sample.from);
      assert.deepEqual(await applyOfflineDelta(repo, path), { commit: sample.to });
      assertWhole(client, sample.to);
    }
  });
}

test('changes nothing when a part is damaged, a source is missing, or the source commit is', async (t) => {
  const sample = twoReleases(t);
  const { path } = await generate(sample, { minFallbackBytes: 0 });
  const client = await createRepo(join(dirname(sample.path), 'client'));
  await assert.rejects(applyOfflineDelta(client, dirname(path)), /Commit .* is not in repository/);
  ostree(`--repo=${client.path}`, 'pull-local', sample.path, sample.from);
  const before = ostree(`--repo=${client.path}`, 'fsck');
  const part = join(dirname(path), '0');
  const good = readFileSync(part);
  for (const at of [0, 1, 100, good.length - 1]) {
    const bad = Buffer.from(good);
    bad[at] = bad[at]! ^ 1;
    writeFileSync(part, bad);
    await assert.rejects(applyOfflineDelta(client, dirname(path)), /Checksum mismatch in static delta part/);
  }
  writeFileSync(part, good);
  // A source that says something else makes an object that is not what its name says.
  const source = `objects/${objectOf(sample, 'usr/bin/tool')}`;
  cpSync(join(client.path, `objects/${objectOf(sample, 'usr/share/text')}`), join(client.path, source));
  await assert.rejects(applyOfflineDelta(client, dirname(path)), OstreeError);
  rmSync(join(client.path, source));
  await assert.rejects(applyOfflineDelta(client, dirname(path)), /no object/);
  cpSync(join(sample.path, source), join(client.path, source));
  assert.equal(ostree(`--repo=${client.path}`, 'fsck'), before);
  await applyOfflineDelta(client, dirname(path));
  assertWhole(client.path, sample.to);
});

/** `XX/rest.filez` of a file of the first release. */
function objectOf({ path, from }: Sample, file: string): string {
  const line = ostree(`--repo=${path}`, 'ls', '-C', from, `/${file}`);
  const checksum = /\b[0-9a-f]{64}\b/.exec(line)![0];
  return `${checksum.slice(0, 2)}/${checksum.slice(2)}.filez`;
}

test('refuses a delta that leaves something out', async (t) => {
  const sample = twoReleases(t);
  const { path } = await generate(sample, { minFallbackBytes: 0, maxPartBytes: 100_000 });
  const client = await createRepo(join(dirname(sample.path), 'client'));
  ostree(`--repo=${client.path}`, 'pull-local', sample.path, sample.from);
  const whole = decodeSuperblock(readFileSync(path));
  const parts = whole.parts.slice(0, -1);
  const { from, to, timestamp, commitMetadata, fallbacks } = whole;
  const commit = Buffer.from(whole.commit);
  const cut = { from, to, timestamp, commit, commitMetadata, fallbacks, parts, endianness: 'little' as const };
  writeFileSync(path, encodeSuperblock(cut));
  await assert.rejects(applyOfflineDelta(client, dirname(path)), /leaves out/);
  assert.ok(!existsSync(join(client.path, `objects/${to.slice(0, 2)}/${to.slice(2)}.commit`)));
});

test('lists, indexes and deletes deltas', async (t) => {
  const sample = twoReleases(t);
  const repo = await openRepo(sample.path);
  assert.deepEqual(await listDeltas(repo), []);
  await generate(sample, { inline: true });
  await generate(sample, { from: null });
  const { from, to } = sample;
  const both = [
    { from, to },
    { from: null, to },
  ].sort((a, b) => (deltaName(a.from, to) < deltaName(b.from, to) ? -1 : 1));
  assert.deepEqual(await listDeltas(repo), both);
  assert.deepEqual(
    ostree(`--repo=${sample.path}`, 'static-delta', 'list').split('\n').sort(),
    both.map((delta) => deltaName(delta.from, delta.to)),
  );
  await updateDeltaIndexes(repo);
  assert.deepEqual(await listDeltaIndexes(repo), [to]);
  const path = join(
    sample.path,
    readdirSync(join(sample.path, 'delta-indexes')).map((name) => `delta-indexes/${name}`)[0]!,
  );
  const index = readFileSync(join(path, readdirSync(path)[0]!));
  ostree(`--repo=${sample.path}`, 'static-delta', 'reindex');
  const theirs = readFileSync(join(path, readdirSync(path)[0]!));
  assert.equal(theirs.length, index.length);
  await deleteDelta(repo, { from, to });
  assert.ok(!hasDelta(repo, { from, to }));
  await assert.rejects(deleteDelta(repo, { from, to }), /Can't find delta/);
  await deleteDelta(repo, { from: null, to });
  await updateDeltaIndexes(repo);
  assert.deepEqual(await listDeltaIndexes(repo), []);
});

test('stops when it is told to, and leaves nothing behind', async (t) => {
  const sample = twoReleases(t);
  const controller = new AbortController();
  const promise = generate(sample, { signal: controller.signal });
  await sleep(5);
  controller.abort();
  await assert.rejects(promise, { name: 'AbortError' });
  assert.deepEqual(
    readdirSync(join(sample.path, 'tmp')).filter((name) => name.startsWith('treeline-')),
    [],
  );
  assert.deepEqual(await listDeltas(await openRepo(sample.path)), []);
});
