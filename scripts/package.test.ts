import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makePackage } from './package.ts';

const root = join(import.meta.dirname, '..');

// More than the pool of workers does in the calling thread, so that the worker's file must be found.
const example = `
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { checkout, createRepo, fsck, OstreeError, readCommit, withTransaction, writeCommit, writeFolder } from '@treeline/ostree';

mkdirSync('folder');
for (let index = 0; index < 12; index++) writeFileSync(\`folder/\${index}\`, randomBytes(500_000));
const repo = await createRepo('repo');
const commit = await withTransaction(repo, async (tx) => {
  const tree = await writeFolder(tx, 'folder');
  const made: string = await writeCommit(tx, { tree, subject: 'from a package' });
  tx.setRef('main', made);
  return made;
});
await checkout(repo, (await readCommit(repo, commit)).tree, 'out');
if (!readFileSync('out/3').equals(readFileSync('folder/3'))) throw new OstreeError('corrupt', 'it is another file');
console.log((await fsck(repo)).objects, 'objects');
`;

test('the package that is published runs on plain Node and has types, without the sources', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-package-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const installed = join(folder, 'node_modules/@treeline/ostree');
  mkdirSync(installed, { recursive: true });
  const tarball = makePackage(join(folder, 'dist'));
  execFileSync('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1']);
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as Record<string, object>;
  for (const name of [...Object.keys(manifest.dependencies!), '@types', 'undici-types']) {
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  }

  await t.test('nothing is in it that nobody needs', () => {
    assert.deepEqual(readdirSync(installed).sort(), ['LICENSE', 'README.md', 'lib', 'package.json']);
    const files = readdirSync(installed, { recursive: true, encoding: 'utf8' });
    const odd = files.filter((name) => /test|\.ts$/.test(name) && !name.endsWith('.d.ts'));
    assert.deepEqual(odd, []);
    for (const name of Object.keys(manifest.dependencies!)) assert.doesNotMatch(name, /^@treeline\//);
  });

  await t.test('it runs', () => {
    writeFileSync(join(folder, 'example.mjs'), example.replace('made: string', 'made'));
    const { stdout, stderr, status } = spawnSync(process.execPath, ['example.mjs'], { cwd: folder, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    assert.equal(stdout, '15 objects\n');
  });

  await t.test('its declarations hold by themselves', () => {
    writeFileSync(join(folder, 'example.mts'), example);
    const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024', '--types', 'node'];
    const tsc = join(root, 'node_modules/.bin/tsc');
    const lib = ['--lib', 'es2024,esnext.disposable'];
    const { stdout, status } = spawnSync(tsc, [...flags, ...lib, '--skipLibCheck', 'false', 'example.mts'], {
      cwd: folder,
      encoding: 'utf8',
    });
    // Only what is said about this package: the types of Node and others are not ours.
    const ours = stdout.split('\n').filter((line) => /^(example|node_modules\/@treeline)/.test(line));
    assert.deepEqual(ours, [], stdout);
    if (ours.length === 0 && status !== 0) t.diagnostic(stdout.split('\n')[0]!);
  });
});
