import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { OstreeError } from '../errors.ts';
import { encodeCommit } from '../formats/commit.ts';
import { xzCompress, xzDecompress } from '../fs/lzma.ts';
import { noise } from '../testing/sample-repo.ts';
import { bspatch } from './bspatch.ts';
import { decodeDeltaIndex, encodeDeltaIndex } from './index-file.ts';
import { deltaFolder, deltaIndexPath, deltaName, deltaOfFolder, parseDeltaName } from './names.ts';
import { type Operation, readOperations } from './operations.ts';
import { decodePayload, encodePayload } from './part.ts';
import {
  type DeltaObject,
  decodeSuperblock,
  encodeSignedSuperblock,
  encodeSuperblock,
  type NewSuperblock,
} from './superblock.ts';
import { readVarint, writeVarint } from './varint.ts';

const A = 'aa'.repeat(32);
const B = '0f3e'.repeat(16);

test('names deltas and indexes as libostree does', () => {
  // The checksum of an empty dirtree, spelled by libostree's own command.
  assert.equal(deltaFolder(null, A), 'deltas/qq/qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo');
  assert.equal(
    deltaFolder(A, B),
    'deltas/qq/qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo-Dz4PPg8+Dz4PPg8+Dz4PPg8+Dz4PPg8+Dz4PPg8+Dz4',
  );
  assert.equal(deltaIndexPath(B), 'delta-indexes/Dz/4PPg8+Dz4PPg8+Dz4PPg8+Dz4PPg8+Dz4PPg8+Dz4.index');
  assert.throws(() => parseDeltaName('GARBAGE'), /Invalid rev GARBAGE/);
  const checksum = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
  fc.assert(
    fc.property(fc.option(checksum), checksum, (from, to) => {
      assert.deepEqual(parseDeltaName(deltaName(from, to)), { from, to });
      const [, prefix, rest] = deltaFolder(from, to).split('/');
      assert.deepEqual(deltaOfFolder(prefix!, rest!), { from, to });
    }),
  );
});

test('reads back every number, and refuses one that is cut short or absurd', () => {
  fc.assert(
    fc.property(fc.array(fc.maxSafeNat()), (numbers) => {
      const bytes: number[] = [];
      for (const number of numbers) writeVarint(bytes, number);
      const cursor = { data: Uint8Array.from(bytes), at: 0 };
      for (const number of numbers) assert.equal(readVarint(cursor, 'x'), number);
      assert.equal(cursor.at, bytes.length);
    }),
  );
  assert.throws(() => readVarint({ data: Uint8Array.of(0x80), at: 0 }, 'x'), /Unexpected EOF reading varint/);
  assert.throws(() => readVarint({ data: new Uint8Array(20).fill(0xff), at: 0 }, 'x'), /absurd/);
});

function sample(endianness: 'little' | 'big' = 'little'): NewSuperblock {
  const tree = { contents: A, meta: B };
  const commit = encodeCommit({ metadata: [], parent: null, subject: 's', body: '', timestamp: 5, tree });
  const part = (size: number, objects: DeltaObject[], inline: Uint8Array | null = null) => ({
    checksum: B,
    size,
    unpackedSize: 10 * size,
    objects,
    inline,
  });
  return {
    metadata: [['user.key', { type: 's', value: 'value' }]],
    timestamp: 1_700_000_000,
    from: B,
    to: hash('sha256', commit),
    commit,
    commitMetadata: [['ostree.gpgsigs', { type: 'aay', value: [noise(20)] }]],
    parts: [
      part(381, [
        { type: 'dirtree', checksum: A },
        { type: 'file', checksum: B },
      ]),
      part(70_000, [], Buffer.concat([Buffer.from('x'), noise(300)])),
    ],
    fallbacks: [{ type: 'file', checksum: A, size: 5_000_000, unpackedSize: 6_000_000 }],
    endianness,
  };
}

for (const endianness of ['little', 'big'] as const) {
  test(`reads back a superblock, ${endianness}-endian`, () => {
    const superblock = sample(endianness);
    const read = decodeSuperblock(encodeSuperblock(superblock));
    for (const key of ['timestamp', 'from', 'to', 'endianness', 'fallbacks'] as const) {
      assert.deepEqual(read[key], superblock[key]);
    }
    assert.deepEqual(Buffer.from(read.commit), superblock.commit);
    assert.deepEqual(
      read.parts.map((part) => ({ ...part, inline: part.inline && Buffer.from(part.inline) })),
      superblock.parts,
    );
    assert.equal(read.metadata[0]![0], 'user.key');
    assert.equal(read.commitMetadata?.[0]?.[0], 'ostree.gpgsigs');
  });
}

test('reads what is in a signed superblock, and the bytes that were signed', () => {
  const plain = encodeSuperblock(sample());
  const read = decodeSuperblock(
    encodeSignedSuperblock(plain, [['ostree.sign.dummy', { type: 'aay', value: [noise(9)] }]]),
  );
  assert.deepEqual(Buffer.from(read.signed!.data), plain);
  assert.equal(read.signed!.signatures[0]![0], 'ostree.sign.dummy');
  assert.equal(read.from, B);
});

test('refuses a superblock whose commit is not the one that it leads to', () => {
  assert.throws(() => decodeSuperblock(encodeSuperblock({ ...sample(), to: A })), /its commit has the checksum/);
});

test('refuses mutated superblocks with an error of its own, or reads them', () => {
  const good = encodeSuperblock(sample());
  const signed = encodeSignedSuperblock(good, []);
  for (const data of [good, signed]) mutations(data, 3000, (bytes) => void decodeSuperblock(bytes));
});

test('reads back a payload, and refuses mutated ones', () => {
  const xattrs = [[], [[Buffer.from('user.a'), noise(9)] as [Uint8Array, Uint8Array]]];
  const modes = [
    { uid: 0, gid: 1000, mode: 0o100644 },
    { uid: 7, gid: 8, mode: 0o120777 },
  ];
  for (const length of [0, 100, 300, 70_000]) {
    const blob = noise(length);
    const { data, blob: place } = encodePayload({ modes, xattrs, operations: noise(50, 3) }, length);
    place.set(blob);
    const read = decodePayload(data, 2, 'x');
    assert.deepEqual(read.modes, modes);
    assert.deepEqual(Buffer.from(read.blob), blob);
    assert.deepEqual(Buffer.from(read.operations), noise(50, 3));
    assert.deepEqual(
      read.xattrs.map((set) => set.map(([name, value]) => [Buffer.from(name), Buffer.from(value)])),
      xattrs,
    );
    assert.throws(() => decodePayload(data, 1, 'x'), /more (?:modes|sets)/);
    if (length < 1000) mutations(data, 2000, (bytes) => void decodePayload(bytes, 2, 'x'));
  }
});

const objects: DeltaObject[] = [
  { type: 'dirtree', checksum: A },
  { type: 'file', checksum: A },
  { type: 'file', checksum: B },
];
const limits = { objects, blobLength: 100, modes: 2, xattrs: 1, object: 'part' };
const run = (bytes: number[], over: Partial<typeof limits> = {}): Operation[] => [
  ...readOperations(Uint8Array.from(bytes), { ...limits, ...over }),
];
const [S, o, w, r, R, c, P] = [...Buffer.from('SowrRcB')] as [number, number, number, number, number, number, number];

test('reads operations, and refuses what no honest part says', () => {
  const good = [S, 10, 0, r, 40, o, 1, 0, 50, P, 72, 20, c, R, o, 0, 0, 9, w, 4, 90, r, 0, w, 5, 200, 1, c];
  assert.deepEqual(
    run(good).map(({ op }) => op),
    [
      'metadata',
      'set-source',
      'open',
      'patch',
      'close',
      'unset-source',
      'open',
      'write',
      'set-source',
      'write',
      'close',
    ],
  );
  const one = { objects: objects.slice(1, 2) };
  const refused: [RegExp, number[], Partial<typeof limits>?][] = [
    [/Unknown opcode 88/, [88]],
    [/Invalid offset\/length 99\/10/, [S, 10, 99]],
    [/mode 2 of 2/, [S, 2, 0, 1, 0], one],
    [/attributes 1 of 1/, [S, 0, 1, 1, 0], one],
    [/0 objects instead of 1/, [], one],
    [/more than 1 objects/, [S, 0, 0, 1, 0, S, 0, 0, 1, 0], one],
    [/a write while no file is open/, [w, 1, 0]],
    [/no file is open/, [c]],
    [/begins inside another/, [o, 0, 0, 5, o, 0, 0, 5], one],
    [/a dirtree that is opened/, [o, 0, 0, 5]],
    [/more than 5 bytes/, [o, 0, 0, 5, w, 6, 0], one],
    [/3 bytes for a file of 5/, [o, 0, 0, 5, w, 3, 0, c], one],
    [/not closed/, [o, 0, 0, 0], one],
    [/a patch of nothing/, [o, 0, 0, 5, P, 0, 1], one],
    [/not all of a file/, [r, 0, o, 0, 0, 5, w, 1, 0, P, 0, 1], one],
    [/Invalid offset\/length 69\/32/, [r, 69]],
    [/absurd number/, [r, ...new Array<number>(12).fill(0xff)]],
  ];
  for (const [message, bytes, over] of refused) assert.throws(() => run(bytes, over), message);
  mutations(Uint8Array.from(good), 5000, (bytes) => void run([...bytes]));
});

test('refuses patches with wild lengths, and mutated ones', () => {
  const old = { size: 1000, read: (offset: number, length: number) => noise(1000).subarray(offset, offset + length) };
  const control = (...numbers: bigint[]) => {
    const bytes = Buffer.alloc(24);
    for (const [index, number] of numbers.entries()) bytes.writeBigUInt64LE(number, index * 8);
    return bytes;
  };
  const good = Buffer.concat([control(20n, 5n, (1n << 63n) | 30n), noise(25), control(10n, 0n, 0n), noise(10)]);
  const make = (patch: Uint8Array, size: number) => {
    let made = 0;
    bspatch(old, patch, size, (piece) => (made += piece.length), 'x');
    assert.equal(made, size);
  };
  make(good, 35);
  assert.throws(() => make(good, 36), /cut short/);
  assert.throws(() => make(good, 30), /absurd lengths/);
  assert.throws(() => make(control((1n << 63n) | 5n, 0n, 0n), 9), /absurd lengths/);
  assert.throws(() => make(control(1n << 62n, 1n << 62n, 0n), 9), /absurd lengths/);
  // Reading outside of the old content is allowed, and reads nothing.
  make(Buffer.concat([control(0n, 1n, 1n << 40n), noise(1), control(5n, 0n, 0n), noise(5)]), 6);
  mutations(good, 3000, (bytes) => make(bytes, 35));
});

test('unpacks xz streams within limits only', () => {
  const data = Buffer.concat([noise(5000), Buffer.alloc(200_000)]);
  const limits = { output: 1_000_000, memory: 10_000_000, object: 'x' };
  for (const options of [{}, { x86: true }, { nice: 273, lc: 4, pb: 0 }]) {
    const packed = xzCompress(data, options);
    assert.deepEqual(xzDecompress(packed, limits), data);
    assert.throws(() => xzDecompress(packed, { ...limits, output: data.length - 1 }), /unpacks to 205000 bytes/);
    assert.throws(() => xzDecompress(packed, { ...limits, memory: 1000 }), /memory to unpack/);
    assert.throws(() => xzDecompress(Buffer.concat([packed, packed]), limits), OstreeError);
    mutations(packed, 500, (bytes) => {
      // CRC64 finds all that is not in a header that says the same.
      assert.deepEqual(xzDecompress(bytes, limits), data);
    });
  }
  assert.equal(xzDecompress(xzCompress(new Uint8Array(0)), limits).length, 0);
});

test('reads back a delta index', () => {
  const deltas = [
    { from: null, to: A, superblock: B },
    { from: B, to: A, superblock: A },
  ];
  const data = encodeDeltaIndex(deltas);
  assert.deepEqual(decodeDeltaIndex(data), deltas);
  mutations(data, 2000, (bytes) => void decodeDeltaIndex(bytes));
});

/** Changes, cuts and doubles bytes; whatever comes of it, nothing but an OstreeError may be thrown. */
function mutations(good: Uint8Array, count: number, read: (bytes: Uint8Array) => void): void {
  let state = 12345;
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let round = 0; round < count; round++) {
    let bytes = Buffer.from(good);
    for (let edits = 1 + random(3); edits > 0; edits--) {
      const at = random(bytes.length);
      const kind = random(5);
      if (bytes.length === 0) break;
      if (kind === 0) bytes[at] = random(256);
      else if (kind === 1) bytes[at] = bytes[at]! ^ (1 << random(8));
      else if (kind === 2) bytes = bytes.subarray(0, at);
      else if (kind === 3) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - random(9)))]);
      else bytes.fill(random(2) * 255, at, Math.min(bytes.length, at + 1 + random(8)));
    }
    try {
      read(bytes);
    } catch (error) {
      if (!(error instanceof OstreeError) && !(error instanceof assert.AssertionError && bytes.equals(good)))
        throw error;
    }
  }
}
