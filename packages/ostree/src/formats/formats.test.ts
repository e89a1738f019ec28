import assert from 'node:assert/strict';
import { createHash, hash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { OstreeError } from '../errors.ts';
import { encode } from '../gvariant/encode.ts';
import { decodeCommit, encodeCommit } from './commit.ts';
import { decodeDirMeta, encodeDirMeta } from './dirmeta.ts';
import { badName, decodeDirTree, encodeDirTree } from './dirtree.ts';
import { decodeFilezHeader, encodeFileHeader, encodeFilezHeader, type FileHeader } from './file.ts';
import { compareNames } from './object-name.ts';
import { plainDirTree } from './plain-dirtree.ts';
import { decodeSummary, encodeSummary } from './summary.ts';

const file = (mode: number, symlinkTarget = ''): FileHeader => ({ uid: 0, gid: 0, mode, symlinkTarget, xattrs: [] });
const sum = (c: string) => c.repeat(64);

// Checksums that libostree gives for these objects.
test('known objects have the checksums that libostree gives them', () => {
  const empty = encodeDirTree({ files: new Map(), dirs: new Map() });
  assert.equal(hash('sha256', empty), '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d');
  const root = encodeDirMeta({ uid: 0, gid: 0, mode: 0o40755, xattrs: [] });
  assert.equal(hash('sha256', root), '446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488');
  const content = createHash('sha256')
    .update(encodeFileHeader(file(0o100755)))
    .update('a\n')
    .digest('hex');
  assert.equal(content, 'a1a485dc19c8f35ab72da3986cad86f7545620edaffe4dbdf2f756a82567035e');
  const link = hash('sha256', encodeFileHeader(file(0o120777, 'f')));
  assert.equal(link, '43f338adeb68637b721d7ba4c39b7677a4fbb87e3adf4a363a3d50c9de9a35ed');
});

test('dirtrees that could write outside their folder, repeat or hide a name are refused', () => {
  const bytes = Buffer.alloc(32);
  const refuse = (files: string[], dirs: string[]) => {
    const data = encode('(a(say)a(sayay))', [files.map((n) => [n, bytes]), dirs.map((n) => [n, bytes, bytes])]);
    assert.throws(() => decodeDirTree(data, 'x.dirtree'), { code: 'corrupt' }, JSON.stringify([files, dirs]));
  };
  refuse(['..'], []);
  refuse(['.'], []);
  refuse([''], []);
  refuse(['a/b'], []);
  refuse([], ['../etc']);
  refuse(['a', 'a'], []);
  refuse(['b', 'a'], []);
  refuse(['a'], ['a']);
  refuse([], ['b', 'a']);
  const short = encode('(a(say)a(sayay))', [[['a', Buffer.alloc(31)]], []]);
  assert.throws(() => decodeDirTree(short, 'x.dirtree'), /31 bytes/);
});

test('dirtrees of any size and with any names are read as they were written, plain ones in one go', () => {
  const name = fc.oneof(
    fc.stringMatching(/^[!-.0-~]{1,40}$/),
    fc.stringMatching(/^[a-z]{200,300}$/),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }),
  );
  const names = fc
    .uniqueArray(name, { maxLength: 60 })
    .map((all) => all.filter((one) => badName(one) === null && one.isWellFormed()));
  const checksum = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
  fc.assert(
    fc.property(names, checksum, fc.nat(60), (all, one, split) => {
      const sorted = all.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      const tree = {
        files: new Map(sorted.slice(0, split).map((entry) => [entry, one])),
        dirs: new Map(sorted.slice(split).map((entry) => [entry, { contents: one, meta: one }])),
      };
      const data = encodeDirTree(tree);
      assert.deepEqual(decodeDirTree(data, 'x.dirtree'), tree);
      const plain = sorted.every((entry) => Buffer.byteLength(entry) === entry.length);
      assert.deepEqual(plainDirTree(data), plain ? tree : null);
    }),
  );
});

test('names sort by their UTF-8 bytes, also beyond the basic plane', () => {
  const names = ['z', 'a', '\u{1F600}', '\uFFFD', '\uE000', 'é', 'A', '-'];
  const bytes = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  assert.deepEqual([...names].sort(compareNames), bytes);
});

test('headers round-trip with owners, modes, targets and extended attributes', () => {
  const xattrs = fc
    .uniqueArray(fc.stringMatching(/^user\.[a-z]{1,9}$/), { maxLength: 3 })
    .map((names) => names.sort().map((n): [Buffer, Buffer] => [Buffer.from(n), Buffer.from([1, 0, 2])]));
  const header = fc.record(
    {
      uid: fc.nat(2 ** 32 - 1),
      gid: fc.nat(2 ** 32 - 1),
      mode: fc.nat(0o7777).map((bits) => 0o100000 | bits),
      symlinkTarget: fc.constant(''),
      xattrs,
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(header, fc.nat(), (original, size) => {
      const data = encodeFilezHeader(original, size);
      const decoded = decodeFilezHeader(data, 'x.filez');
      assert.deepEqual(decoded, { header: original, size, bodyOffset: data.length });
      const meta = {
        uid: original.uid,
        gid: original.gid,
        mode: 0o040000 | (original.mode & 0o7777),
        xattrs: original.xattrs,
      };
      assert.deepEqual(decodeDirMeta(encodeDirMeta(meta), 'x.dirmeta'), meta);
    }),
  );
});

test('mutated headers are refused or are another valid header, never a crash', () => {
  const good = encodeFilezHeader({ ...file(0o100644), xattrs: [[Buffer.from('user.a'), Buffer.from('b')]] }, 5);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 }),
      fc.nat(good.length),
      (edits, cut) => {
        const data = Buffer.from(good.subarray(0, cut));
        for (const [at, byte] of edits) if (at < data.length) data[at] = byte;
        try {
          decodeFilezHeader(data, 'x.filez');
        } catch (error) {
          assert.ok(error instanceof OstreeError && error.code === 'corrupt', String(error));
        }
      },
    ),
    { numRuns: 3000 },
  );
});

test('a filez that claims a gigantic header is refused before anything is allocated for it', () => {
  const data = Buffer.alloc(64);
  data.writeUInt32BE(0xffffffff, 0);
  assert.throws(() => decodeFilezHeader(data, 'x.filez'), /header of 4294967295 bytes at byte 0/);
});

test('commits keep the order of their metadata', () => {
  const commit = {
    metadata: [
      ['z', { type: 's', value: 'last' }],
      ['a', { type: 'a{ss}', value: [['k', 'v']] }],
    ] as const,
    parent: sum('a'),
    subject: 'Grüße',
    body: 'two\nlines',
    timestamp: 1_700_000_000,
    tree: { contents: sum('b'), meta: sum('c') },
  };
  const data = encodeCommit(commit);
  assert.deepEqual(decodeCommit(data, 'x.commit'), commit);
  assert.throws(() => decodeCommit(data.subarray(1), 'x.commit'), { code: 'corrupt' });
});

test('summaries round-trip with their refs sorted', () => {
  const refs = new Map([
    ['b/c', { commit: sum('b'), size: 200, timestamp: 1_700_000_000 }],
    ['a', { commit: sum('a'), size: 100, timestamp: null }],
  ]);
  const decoded = decodeSummary(encodeSummary({ refs, metadata: [['k', { type: 'b', value: true }]] }));
  assert.deepEqual([...decoded.refs.keys()], ['a', 'b/c']);
  assert.deepEqual(decoded.refs.get('b/c'), refs.get('b/c'));
  assert.deepEqual(decoded.metadata, [['k', { type: 'b', value: true }]]);
});
