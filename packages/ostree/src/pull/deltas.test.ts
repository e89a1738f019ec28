import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { deltaFolder } from '../delta/names.ts';
import { type Checksum, loosePath } from '../formats/object-name.ts';
import { readRef } from '../repo/refs.ts';
import { createRepo, type Repo, type RepoMode } from '../repo/repo.ts';
import { plainFiles, startServer } from '../testing/http.ts';
import { noise } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { partialMark } from './known-trees.ts';
import { type PullOptions, pull } from './pull.ts';

interface Releases {
  path: string;
  folder: string;
  first: Checksum;
  second: Checksum;
  url: string;
  asked: string[];
  /** Repository with the first release. */
  board(mode?: RepoMode): Promise<Repo>;
}

/** Two releases, with what `ostree static-delta generate` makes of them, and a server that has both. */
async function releases(t: TestContext, options: string[] = [], added = 0): Promise<Releases> {
  const base = scratchFolder(t);
  const { path, folder, commit } = smallRepo(base);
  const first = commit();
  writeFileSync(join(folder, 'large'), Buffer.concat([noise(300_000, 7), noise(1000, 8)]));
  writeFileSync(join(folder, 'etc/name'), 'changed');
  if (added > 0) writeFileSync(join(folder, 'added'), noise(added, 9));
  const second = commit();
  ostree(`--repo=${path}`, 'static-delta', 'generate', `--from=${first}`, `--to=${second}`, ...options);
  ostree(`--repo=${path}`, 'summary', '-u');
  const files = plainFiles(path);
  const asked: string[] = [];
  const url = await startServer(t, (req, res, name) => {
    asked.push(name);
    return files(req, res, name);
  });
  let boards = 0;
  const board = async (mode: RepoMode = 'bare-user-only') => {
    const repo = await createRepo(join(base, `board-${boards++}`), { mode });
    await pull(repo, { url, refs: [`main@${first}`], remote: 'origin' });
    asked.length = 0;
    return repo;
  };
  return { path, folder, first, second, url, asked, board };
}

function smallRepo(base: string): { path: string; folder: string; commit: (...options: string[]) => Checksum } {
  const [path, folder] = [join(base, 'theirs'), join(base, 'folder')];
  mkdirSync(join(folder, 'etc'), { recursive: true });
  writeFileSync(join(folder, 'large'), noise(300_000, 7));
  writeFileSync(join(folder, 'etc/name'), 'first');
  writeFileSync(join(folder, 'etc/other'), 'the same');
  symlinkSync('other', join(folder, 'etc/link'));
  ostree(`--repo=${path}`, 'init', '--mode=archive');
  const commit = (...options: string[]) =>
    ostree(`--repo=${path}`, 'commit', '-b', 'main', '--canonical-permissions', ...options, folder);
  return { path, folder, commit };
}

const objects = (asked: readonly string[]) => asked.filter((path) => /\.(filez|dirtree|dirmeta)$/.test(path));
const update = (releases: Releases, more: Partial<PullOptions> = {}): PullOptions => ({
  url: releases.url,
  refs: ['main'],
  remote: 'origin',
  ...more,
});

for (const mode of ['bare-user', 'bare-user-only'] as const) {
  test(`a delta is taken instead of objects, into ${mode}`, async (t) => {
    const all = await releases(t);
    const repo = await all.board(mode);
    const stats = await pull(repo, update(all));
    assert.equal(stats.deltaParts, 1);
    assert.deepEqual(objects(all.asked), []);
    assert.ok(stats.bytesTransferred < 10_000, `${stats.bytesTransferred} bytes`);
    assert.equal(await readRef(repo, 'origin:main'), all.second);
    assert.equal(existsSync(partialMark(repo, all.second)), false);
    ostree(`--repo=${repo.path}`, 'fsck', '-q');
  });
}

test('a delta is found by checksum alone, and from scratch', async (t) => {
  const all = await releases(t);
  ostree(`--repo=${all.path}`, 'static-delta', 'generate', '--empty', `--to=${all.second}`);
  ostree(`--repo=${all.path}`, 'summary', '-u');
  const byChecksum = await all.board();
  const found = await pull(byChecksum, { url: all.url, commits: [all.second], deltas: 'required' });
  assert.equal(found.deltaParts, 1);
  const fresh = await createRepo(join(scratchFolder(t), 'fresh'), { mode: 'bare-user-only' });
  all.asked.length = 0;
  const scratch = await pull(fresh, update(all));
  assert.ok(scratch.deltaParts > 0);
  assert.deepEqual(objects(all.asked), []);
  ostree(`--repo=${fresh.path}`, 'fsck', '-q');
  // A ref that is there is more likely to share most of its objects with the new commit.
  ostree(`--repo=${all.path}`, 'static-delta', 'delete', `${all.first}-${all.second}`);
  ostree(`--repo=${all.path}`, 'summary', '-u');
  const old = await all.board();
  assert.equal((await pull(old, update(all))).deltaParts, 0);
});

test('inline deltas and objects beside deltas are taken, too', async (t) => {
  for (const options of [['--inline'], ['--min-fallback-size=1', '--disable-bsdiff']]) {
    const all = await releases(t, options, 1_200_000);
    const repo = await all.board();
    const stats = await pull(repo, update(all, { deltas: 'required' }));
    assert.ok(stats.deltaParts > 0);
    assert.equal(objects(all.asked).length, options.length === 2 ? 1 : 0);
    ostree(`--repo=${repo.path}`, 'fsck', '-q');
  }
});

test('a dry run says what would be fetched, and fetches nothing', async (t) => {
  const all = await releases(t);
  const repo = await all.board();
  const { prediction } = await pull(repo, update(all, { dryRun: true, deltas: 'required' }));
  const part = readFileSync(join(all.path, deltaFolder(all.first, all.second), '0'));
  assert.deepEqual(
    { ...prediction!.deltas, unpacked: 0 },
    { parts: 1, partsHere: 0, bytes: part.length, bytesHere: 0, unpacked: 0 },
  );
  assert.ok(prediction!.deltas.unpacked > 300_000);
  assert.equal(await readRef(repo, 'origin:main'), all.first);
  assert.equal(existsSync(partialMark(repo, all.second)), false);
});

test('without deltas and sizes in the commit, a dry run asks for the sizes', async (t) => {
  const all = await releases(t);
  const repo = await all.board();
  for (const url of [all.url, all.path]) {
    all.asked.length = 0;
    const { prediction } = await pull(repo, update(all, { url, dryRun: true, deltas: 'never' }));
    const before = await pull(await all.board('archive'), update(all, { deltas: 'never' }));
    assert.equal(prediction!.objects.objects, before.metadataFetched + before.contentFetched - 1);
    const commit = statSync(join(all.path, 'objects', loosePath(all.second, 'commit'))).size;
    assert.equal(prediction!.objects.archived + commit, before.bytesTransferred);
    assert.ok(prediction!.objects.unpacked > 300_000);
  }
  assert.equal(await readRef(repo, 'origin:main'), all.first);
});

test('a delta that is damaged is done without, unless it is required', async (t) => {
  const all = await releases(t);
  const folder = join(all.path, deltaFolder(all.first, all.second));
  const superblock = readFileSync(join(folder, 'superblock'));
  const part = readFileSync(join(folder, '0'));
  const damages: [name: string, what: () => void][] = [
    ['a part with another byte', () => writeFileSync(join(folder, '0'), flipped(part, part.length >> 1))],
    ['a part that is cut short', () => writeFileSync(join(folder, '0'), part.subarray(0, -10))],
    ['a part without end', () => appendFileSync(join(folder, '0'), part)],
    ['no part', () => rmSync(join(folder, '0'))],
    [
      'a superblock that the summary does not know',
      () => writeFileSync(join(folder, 'superblock'), flipped(superblock, 40)),
    ],
    ['an empty superblock', () => writeFileSync(join(folder, 'superblock'), '')],
  ];
  for (const [name, damage] of damages) {
    damage();
    const repo = await all.board();
    await assert.rejects(pull(repo, update(all, { deltas: 'required' })), { name: 'OstreeError' }, name);
    assert.equal(await readRef(repo, 'origin:main'), all.first, name);
    const stats = await pull(repo, update(all));
    assert.equal(stats.deltaParts, 0, name);
    assert.ok(stats.contentFetched > 0, name);
    assert.equal(existsSync(partialMark(repo, all.second)), false);
    ostree(`--repo=${repo.path}`, 'fsck', '-q');
    writeFileSync(join(folder, 'superblock'), superblock);
    writeFileSync(join(folder, '0'), part);
  }
});

test('the delta of another commit is refused in the place of this one', async (t) => {
  const all = await releases(t);
  const third = ostree(
    `--repo=${all.path}`,
    'commit',
    '-b',
    'main',
    '-s',
    'third',
    '--canonical-permissions',
    all.folder,
  );
  ostree(`--repo=${all.path}`, 'static-delta', 'generate', `--from=${all.first}`, `--to=${third}`);
  const [from, to] = [deltaFolder(all.first, all.second), deltaFolder(all.first, third)];
  for (const name of readdirSync(join(all.path, from))) {
    writeFileSync(join(all.path, to, name), readFileSync(join(all.path, from, name)));
  }
  // Nobody says what is there: the place says what it should be.
  ostree(`--repo=${all.path}`, 'config', 'set', 'core.indexed-deltas', 'false');
  rmSync(join(all.path, 'summary'));
  const repo = await all.board();
  await assert.rejects(pull(repo, update(all, { deltas: 'required' })), { code: 'corrupt', message: /is the delta/ });
  await pull(repo, update(all));
  assert.equal(await readRef(repo, 'origin:main'), third);
});

test('a part of which some came is gone on with', async (t) => {
  const all = await releases(t, ['--disable-bsdiff'], 300_000);
  const part = `/${deltaFolder(all.first, all.second)}/0`;
  const whole = readFileSync(join(all.path, part));
  const ranges: (string | undefined)[] = [];
  const files = plainFiles(all.path);
  let broken = true;
  const url = await startServer(t, (req, res, path) => {
    if (path !== part) return files(req, res, path);
    ranges.push(req.headers.range);
    const start = Number(/^bytes=(\d+)-$/.exec(req.headers.range ?? '')?.[1] ?? 0);
    if (start > 0) res.writeHead(206, { 'content-range': `bytes ${start}-${whole.length - 1}/${whole.length}` });
    else res.writeHead(200, { 'content-length': whole.length });
    if (!broken) return void res.end(whole.subarray(start));
    res.write(whole.subarray(start, start + 100_000), () => res.destroy());
  });
  const repo = await all.board();
  await assert.rejects(pull(repo, update(all, { url, retries: 0, deltas: 'required' })), { code: 'network' });
  broken = false;
  const stats = await pull(repo, update(all, { url, retries: 0, deltas: 'required' }));
  assert.equal(ranges[0], undefined);
  assert.match(ranges[1]!, /^bytes=[1-9]\d*-$/);
  assert.ok(stats.bytesTransferred < whole.length);
  assert.deepEqual(readdirSync(join(repo.path, 'tmp/treeline-partial')), []);
  ostree(`--repo=${repo.path}`, 'fsck', '-q');
});

test('objects are taken where a commit says that they are smaller than the delta', async (t) => {
  const base = scratchFolder(t);
  const { path, folder, commit } = smallRepo(base);
  const first = commit();
  writeFileSync(join(folder, 'etc/name'), 'changed');
  const second = commit('--generate-sizes');
  ostree(`--repo=${path}`, 'static-delta', 'generate', '--empty', `--to=${second}`);
  ostree(`--repo=${path}`, 'summary', '-u');
  const url = await startServer(t, plainFiles(path));
  const repo = await createRepo(join(base, 'ours'), { mode: 'bare-user-only' });
  await pull(repo, { url, commits: [first], deltas: 'never' });
  const { prediction } = await pull(repo, { url, refs: ['main'], dryRun: true });
  assert.equal(prediction!.deltas.parts, 0);
  assert.equal(prediction!.objects.objects, 3);
  const stats = await pull(repo, { url, refs: ['main'] });
  assert.equal(stats.deltaParts, 0);
  assert.equal(stats.contentFetched, 1);
});

test('an archive repository keeps what the remote compressed', async (t) => {
  const all = await releases(t);
  const repo = await all.board('archive');
  await assert.rejects(pull(repo, update(all, { deltas: 'required' })), { code: 'unsupported' });
  const stats = await pull(repo, update(all));
  assert.equal(stats.deltaParts, 0);
  assert.ok(!all.asked.some((path) => path.includes('delta')));
});

function flipped(data: Buffer, at: number): Buffer {
  const copy = Buffer.from(data);
  copy[at]! ^= 0x55;
  return copy;
}
