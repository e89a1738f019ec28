import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCommand } from './process.ts';
import { filesBelow, gatherRealTree } from './real-tree.ts';

const run = (...command: [string, ...string[]]) => runCommand(command);

test('a machine with too few files gets copies with other bytes, and the report says so', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'treeline-real-tree-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const source = join(folder, 'source');
  await mkdir(join(source, 'inner'), { recursive: true });
  await writeFile(join(source, 'large'), Buffer.alloc(200_000, 1));
  await writeFile(join(source, 'inner', 'read-only'), 'abc', { mode: 0o444 });
  await writeFile(join(source, 'empty'), '');
  await symlink('large', join(source, 'link'));

  const path = join(folder, 'tree');
  const tree = await gatherRealTree(path, { files: 6, bytes: 150_000 }, run, [source]);
  const files: string[] = [];
  for await (const file of filesBelow(path)) files.push(file);
  assert.equal(tree.files, files.length);
  assert.ok(tree.files >= 6 && tree.bytes >= 150_000);
  assert.equal(tree.sources.length, 3, 'the original and two copies without the large file');
  const contents = await Promise.all(files.filter((file) => file.endsWith('read-only')).map((file) => readFile(file)));
  assert.equal(new Set(contents.map(String)).size, contents.length, 'every copy differs');

  assert.deepEqual(await gatherRealTree(path, { files: 6, bytes: 1 }, run, ['/nonexistent']), tree, 'used again');
  const none = gatherRealTree(join(folder, 'other'), { files: 1, bytes: 1 }, run, ['/nonexistent']);
  await assert.rejects(none, /no files to measure with in \/nonexistent/);
});
