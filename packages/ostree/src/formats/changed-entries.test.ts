import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { changedEntries } from './changed-entries.ts';
import { type DirTree, decodeDirTree, encodeDirTree } from './dirtree.ts';

const checksum = fc.integer({ min: 0, max: 3 }).map((digit) => `${digit}`.repeat(64));
const name = fc.stringMatching(/^[a-f]{1,3}$/);
const tree: fc.Arbitrary<DirTree> = fc
  .record({
    files: fc.dictionary(name, checksum, { maxKeys: 60, noNullPrototype: true }),
    dirs: fc.dictionary(name, fc.record({ contents: checksum, meta: checksum }, { noNullPrototype: true }), {
      maxKeys: 30,
      noNullPrototype: true,
    }),
  })
  .map(({ files, dirs }) => ({
    files: new Map(Object.entries(files).map(([key, value]) => [`f${key}`, value])),
    dirs: new Map(Object.entries(dirs).map(([key, value]) => [`d${key}`, value])),
  }));

const byName = ([a]: [string, unknown], [b]: [string, unknown]) => (a < b ? -1 : 1);

/** What is left of `one` when what is the same in `other` is left out. */
function without(one: DirTree, other: DirTree): { files: unknown[]; dirs: unknown[] } {
  return {
    files: [...one.files].filter(([key, value]) => other.files.get(key) !== value).sort(byName),
    dirs: [...one.dirs]
      .filter(([key, { contents, meta }]) => {
        const same = other.dirs.get(key);
        return same?.contents !== contents || same.meta !== meta;
      })
      .sort(byName),
  };
}
const listed = ({ files, dirs }: DirTree) => ({ files: [...files].sort(byName), dirs: [...dirs] });

test('entries that both folders have are left out, and no others', () => {
  fc.assert(
    fc.property(tree, tree, fc.boolean(), (a, other, isNear) => {
      // Near: most of it is the same, as in two releases.
      const b = isNear
        ? {
            files: new Map([...a.files, ...[...other.files].slice(0, 2)]),
            dirs: new Map([...a.dirs, ...[...other.dirs].slice(0, 2)]),
          }
        : other;
      const changes = changedEntries(encodeDirTree(a), encodeDirTree(b));
      assert.ok(changes);
      assert.deepEqual(listed(changes.now), without(a, b));
      assert.deepEqual(listed(changes.before), without(b, a));
    }),
    { numRuns: 500 },
  );
});

test('a folder with 20,000 files of which three have changed is three entries', () => {
  const files = new Map(Array.from({ length: 20_000 }, (_, index) => [`file-${index}`, 'a'.repeat(64)]));
  const before = encodeDirTree({ files, dirs: new Map() });
  for (const index of [0, 9_999, 19_999]) files.set(`file-${index}`, 'b'.repeat(64));
  const changes = changedEntries(encodeDirTree({ files, dirs: new Map() }), before);
  assert.deepEqual([...(changes?.now.files.keys() ?? [])].sort(), ['file-0', 'file-19999', 'file-9999']);
  assert.equal(changes?.before.files.size, 3);
});

test('names that are not ASCII are for the decoder', () => {
  const plain = { files: new Map([['a', '0'.repeat(64)]]), dirs: new Map() };
  const other = { files: new Map([['ä', '0'.repeat(64)]]), dirs: new Map() };
  assert.equal(changedEntries(encodeDirTree(other), encodeDirTree(plain)), null);
});

test('damaged bytes end in null, or in entries that the decoder sees as well', () => {
  fc.assert(
    fc.property(tree, tree, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat(), (a, b, at, byte, cut) => {
      const data = encodeDirTree(a);
      const damaged = Buffer.from(data);
      if (damaged.length > 0) damaged[at % damaged.length] = byte;
      const before = encodeDirTree(b);
      for (const bytes of [
        damaged,
        data.subarray(0, cut % (data.length + 1)),
        Buffer.concat([data, Buffer.of(byte)]),
      ]) {
        const changes = changedEntries(bytes, before);
        changedEntries(before, bytes);
        if (changes === null) continue;
        let whole: DirTree;
        try {
          whole = decodeDirTree(bytes, 'damaged');
        } catch {
          // What both have is not looked at, so not all damage is seen; what is, is in bounds.
          continue;
        }
        for (const [key, value] of changes.now.files) assert.equal(whole.files.get(key), value);
        for (const [key, value] of changes.now.dirs) assert.deepEqual(whole.dirs.get(key), value);
      }
    }),
    { numRuns: 1000 },
  );
});
