import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { mergeEtc } from './etc-merge.ts';

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'treeline-etc-'));
});
after(() => rm(dir, { recursive: true, force: true }));

type Files = Record<string, string>;
let count = 0;

async function folder(files: Files): Promise<string> {
  const path = join(dir, `f${++count}`);
  await mkdir(path);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(path, name)), { recursive: true });
    await writeFile(join(path, name), text);
  }
  return path;
}

async function contentOf(path: string): Promise<Files> {
  const files: Files = {};
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const full = join(entry.parentPath, entry.name);
    files[full.slice(path.length + 1)] = await readFile(full, 'utf8');
  }
  return files;
}

async function merge(shipped: Files, before: { shipped: Files; current: Files } | null): Promise<string> {
  const into = join(dir, `m${++count}`);
  await mergeEtc({
    shipped: await folder(shipped),
    into,
    before: before && { shipped: await folder(before.shipped), current: await folder(before.current) },
  });
  return into;
}

test('nothing before: as shipped; nothing shipped: an empty folder', async () => {
  assert.deepEqual(await contentOf(await merge({ a: '1', 'd/b': '2' }, null)), { a: '1', 'd/b': '2' });
  const into = join(dir, 'none');
  await mergeEtc({ shipped: join(dir, 'missing'), into, before: null });
  assert.deepEqual(await readdir(into), []);
});

test('a folder that the new release dropped comes back only for what was changed in it', async () => {
  const before = {
    shipped: { 'old/a': '1', 'old/b': '1', 'gone/c': '1' },
    current: { 'old/a': 'mine', 'old/b': '1', 'gone/c': '1' },
  };
  assert.deepEqual(await contentOf(await merge({ keep: '1' }, before)), { keep: '1', 'old/a': 'mine' });
});

test('a folder that was removed on the board stays away, also with what a new release puts into it', async () => {
  const before = { shipped: { 'd/a': '1' }, current: {} };
  assert.deepEqual(await contentOf(await merge({ 'd/a': '2', 'd/b': '2', c: '2' }, before)), { c: '2' });
});

test('a file where the release now has a folder, and the other way round: the local change wins', async () => {
  const fileWins = await merge({ 'x/in': '2' }, { shipped: { x: '1' }, current: { x: 'mine' } });
  assert.deepEqual(await contentOf(fileWins), { x: 'mine' });
  const folderWins = await merge({ x: '2' }, { shipped: { 'x/in': '1' }, current: { 'x/in': 'mine' } });
  assert.deepEqual(await contentOf(folderWins), { 'x/in': 'mine' });
});

test('changed permissions are a local change', async () => {
  const shipped = await folder({ secret: '1' });
  const current = await folder({ secret: '1' });
  await chmod(join(current, 'secret'), 0o600);
  const into = join(dir, `m${++count}`);
  await mergeEtc({ shipped: await folder({ secret: '2' }), into, before: { shipped, current } });
  assert.equal((await stat(join(into, 'secret'))).mode & 0o777, 0o600);
});

test('for plain files it is the three-way merge in which local changes win', async () => {
  const text = fc.constantFrom('1', '2', '3');
  const files = fc.dictionary(fc.constantFrom('a', 'b', 'd/c', 'd/e', 'f/g/h'), text, { noNullPrototype: true });
  // No folder ever goes as a whole: that is a change of its own, tested above.
  const kept = { 'd/kept': '1', 'f/kept': '1', 'f/g/kept': '1' };
  const inKept: fc.Arbitrary<Files> = files.map((some) => ({ ...some, ...kept }));
  await fc.assert(
    fc.asyncProperty(inKept, inKept, inKept, async (oldShipped, current, shipped) => {
      const expected: Files = { ...shipped };
      for (const name of new Set([...Object.keys(oldShipped), ...Object.keys(current)])) {
        const mine = current[name];
        if (mine === oldShipped[name]) continue;
        if (mine === undefined) delete expected[name];
        else expected[name] = mine;
      }
      assert.deepEqual(await contentOf(await merge(shipped, { shipped: oldShipped, current })), expected);
    }),
    { numRuns: 60 },
  );
});
