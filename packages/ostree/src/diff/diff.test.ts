import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createRepo } from '../repo/repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { commitFolder, isRoot, writeVersion } from '../testing/versions.ts';
import { diffPaths } from './compare.ts';
import { diffSides, diffTrees } from './diff.ts';
import { downloadSize } from './download.ts';
import { patchText } from './patch.ts';

async function twoVersions(t: TestContext) {
  const base = scratchFolder(t);
  const repo = await createRepo(join(base, 'repo'));
  const folders = { old: join(base, 'old'), new: join(base, 'new') };
  writeVersion(folders.old, 1);
  writeVersion(folders.new, 2);
  const before = await commitFolder(repo, folders.old, 'old');
  const after = await commitFolder(repo, folders.new, 'new');
  return { base, repo, folders, before, after };
}

test('each change says what about it differs', async (t) => {
  const { repo, before, after } = await twoVersions(t);
  const changes = await diffTrees(repo, before, after);
  const found = Object.fromEntries(changes.map(({ kind, path, differs }) => [path, [kind, ...differs].join(' ')]));
  assert.deepEqual(found, {
    '/etc/binary': 'modified content',
    '/etc/both': 'modified content mode',
    '/etc/conf': 'modified content',
    '/etc/grows': 'modified content',
    '/etc/link': 'modified target',
    '/etc/mode': isRoot ? 'modified mode owner' : 'modified mode',
    '/gone': 'removed',
    '/gone/file': 'removed',
    '/gone/inner': 'removed',
    '/gone/inner/file': 'removed',
    '/new': 'added',
    '/new/copy': 'added',
    '/new/inner': 'added',
    '/new/inner/file': 'added',
    ...(isRoot ? { '/same/deep/x': 'modified xattrs' } : {}),
    '/usr/bin': 'modified mode',
    '/was-file': 'modified type',
    '/was-file/in': 'added',
    '/was-file/in/x': 'added',
    '/was-folder': 'modified type',
    '/was-folder/a': 'removed',
    '/was-link': 'modified type',
    '/was-link/y': 'added',
  });
  assert.deepEqual(
    changes.map(({ path }) => path),
    Object.keys(found),
  );
});

test('the bytes of all changes and the folder listings are what a device fetches', async (t) => {
  const { repo, before, after } = await twoVersions(t);
  const changes = await diffTrees(repo, before, after, { download: true });
  const size = downloadSize(repo, before, after);
  const listed = changes.reduce((sum, { download }) => sum + download!, 0);
  const of = (path: string) => changes.find((change) => change.path === path)?.download;
  assert.ok(listed > 5000 && listed < size.bytes, `${listed} of ${size.bytes}`);
  if (!isRoot) assert.equal(of('/new/copy'), 0); // its content is there already, as /same/deep/x
  assert.equal(of('/gone'), 0);
  assert.ok(of('/etc/binary')! > 5000);

  // What libostree says that it has to fetch for one commit on top of the other.
  const clone = join(repo.path, '../clone');
  ostree('init', `--repo=${clone}`, '--mode=archive');
  ostree('pull-local', `--repo=${clone}`, '--disable-fsync', repo.path, 'old');
  const objects = () =>
    execFileSync('find', [join(clone, 'objects'), '-type', 'f', '-printf', '%s\n'], { encoding: 'utf8' });
  const sum = (text: string) =>
    text
      .trim()
      .split('\n')
      .reduce((total, line) => total + Number(line), 0);
  const had = objects();
  ostree('pull-local', `--repo=${clone}`, '--disable-fsync', repo.path, 'new');
  const has = objects();
  const commitBytes = readFileSync(join(repo.path, 'refs/heads/new'), 'utf8').trim();
  const commit = Number(
    execFileSync('stat', [
      '-c%s',
      join(repo.path, 'objects', commitBytes.slice(0, 2), `${commitBytes.slice(2)}.commit`),
    ]),
  );
  assert.equal(sum(has) - sum(had), size.bytes + commit);
});

test('folders on disk compare like the commits of them, without being committed', async (t) => {
  const { repo, folders, before, after } = await twoVersions(t);
  const simple = (changes: Awaited<ReturnType<typeof diffSides>>) =>
    changes.map(({ kind, path, differs, after: node }) => [
      kind,
      path,
      differs,
      node && 'checksum' in node && node.checksum,
    ]);
  const expected = simple(await diffTrees(repo, before, after));
  const objects = execFileSync('find', [repo.path], { encoding: 'utf8' });
  for (const [a, b] of [
    [{ repo, tree: before }, { folder: folders.new }],
    [{ folder: folders.old }, { repo, tree: after }],
    [{ folder: folders.old }, { folder: folders.new }],
  ] as const) {
    assert.deepEqual(simple(await diffSides(a, b)), expected);
  }
  assert.deepEqual(await diffSides({ folder: folders.new }, { repo, tree: after }), []);
  assert.equal(execFileSync('find', [repo.path], { encoding: 'utf8' }), objects);
});

test('paths come in the order of ostree diff', async (t) => {
  const { repo, before, after } = await twoVersions(t);
  const changes = await diffPaths({ repo, tree: before }, { repo, tree: after });
  const letters = { modified: 'M', removed: 'D', added: 'A' } as const;
  const lines = (['modified', 'removed', 'added'] as const).flatMap((kind) =>
    changes
      .filter((one) => one.kind === kind && (one.below === null || one.below === 'added') && one.path !== '/')
      .map(({ path }) => `${letters[kind]}    ${path}`),
  );
  assert.deepEqual(lines, ostree('diff', `--repo=${repo.path}`, 'old', 'new').split('\n'));
});

test('a patch makes the old files into the new ones', async (t) => {
  const { base, repo, folders, before, after } = await twoVersions(t);
  for (const [folder, version] of [
    [folders.old, 1],
    [folders.new, 2],
  ] as const) {
    writeFileSync(join(folder, 'etc/binary'), '');
    writeFileSync(join(folder, 'odd " name'), `version ${version}\n`);
    writeFileSync(join(folder, 'two words'), `version ${version}`);
  }
  const changes = await diffSides({ folder: folders.old }, { folder: folders.new });
  const text = (await collect(patchText(changes))).join('');
  assert.match(text, /^-two$/m);
  assert.match(text, /^\+2$/m);
  assert.match(text, /^\\ No newline at end of file$/m);
  assert.match(text, /^# \/usr\/bin: mode 0755, now 1777$/m);
  const file = join(base, 'patch');
  writeFileSync(file, text);
  execFileSync('git', ['apply', '--unsafe-paths', '-p1', file], {
    cwd: folders.old,
    env: { ...process.env, GIT_DIR: '/nonexistent' },
  });
  const left = (await diffSides({ folder: folders.old }, { folder: folders.new })).filter(
    ({ differs, after: node }) =>
      differs.includes('content') || differs.includes('target') || (node?.type === 'file' && differs.length === 0),
  );
  assert.deepEqual(
    left.map(({ path }) => path),
    [],
  );

  const committed = (await collect(patchText(await diffTrees(repo, before, after)))).join('');
  assert.match(committed, /^Binary files a\/etc\/binary and b\/etc\/binary differ$/m);
});

test('what is long or binary is only named, and a comparison ends in time', async (t) => {
  const base = scratchFolder(t);
  for (const side of ['a', 'b']) {
    mkdirSync(join(base, side));
    writeFileSync(join(base, side, 'long'), `${side}\n`.repeat(1_000_000));
    writeFileSync(join(base, side, 'latin1'), Buffer.from([0xe4, side.charCodeAt(0)]));
    const lines = Array.from({ length: 60_000 }, (_, index) => `${side}${(index * 7919) % 60_000}`);
    writeFileSync(join(base, side, 'hard'), lines.join('\n'));
  }
  const changes = await diffSides({ folder: join(base, 'a') }, { folder: join(base, 'b') });
  const began = process.cpuUsage();
  const text = (await collect(patchText(changes))).join('');
  const { user, system } = process.cpuUsage(began);
  assert.ok(user + system < 10_000_000);
  assert.equal(text.match(/^Binary files/gm)?.length, 3);
});

async function collect(pieces: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const piece of pieces) all.push(piece);
  return all;
}
