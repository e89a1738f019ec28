import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OstreeError } from '../errors.ts';
import { decodeObjectList, decodeObjectStates, encodeObjectList, encodeObjectStates } from './object-list.ts';
import { encodePack, PackDecoder, type PackPiece } from './pack.ts';

const types = ['commit', 'dirtree', 'dirmeta', 'file', 'commitmeta'] as const;
const checksum = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const piece: fc.Arbitrary<PackPiece> = fc
  .record({
    type: fc.constantFrom(...types),
    checksum,
    data: fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    offset: fc.nat(100_000),
    rest: fc.option(fc.nat(1000)),
  })
  .map(({ rest, ...one }) => ({ ...one, total: rest === null ? null : one.offset + one.data.length + rest }));

async function encoded(pieces: readonly PackPiece[], groupSize = 3): Promise<Buffer> {
  const groups: PackPiece[][] = [];
  for (let at = 0; at < pieces.length; at += groupSize) groups.push(pieces.slice(at, at + groupSize));
  const chunks: Buffer[] = [];
  for await (const chunk of encodePack(groups)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function decoded(chunks: readonly Buffer[]): PackPiece[] {
  const pieces: PackPiece[] = [];
  let data: Buffer[] = [];
  const decoder = new PackDecoder({
    begin({ length: _, ...record }) {
      pieces.push({ ...record, data: Buffer.alloc(0) });
      data = [];
    },
    bytes: (part) => void data.push(Buffer.from(part)),
    end() {
      pieces.at(-1)!.data = Buffer.concat(data);
    },
  });
  for (const chunk of chunks) decoder.push(chunk);
  decoder.finish();
  return pieces;
}

test('what is packed is unpacked, however the network cuts it', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(piece, { maxLength: 12 }),
      fc.array(fc.nat(2000), { maxLength: 12 }),
      async (all, cuts) => {
        const bytes = await encoded(all);
        const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
        const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
        assert.deepEqual(decoded(chunks), all);
      },
    ),
  );
});

test('a known pack has these bytes', async () => {
  const bytes = await encoded([
    { type: 'dirmeta', checksum: 'ab'.repeat(32), total: 3, offset: 0, data: Buffer.from('xyz') },
    { type: 'file', checksum: '01'.repeat(32), total: null, offset: 2 ** 33 + 1, data: Buffer.from('q') },
  ]);
  assert.equal(
    bytes.toString('hex'),
    [
      Buffer.from('ostpack1').toString('hex'),
      ...['03', 'ab'.repeat(32), '0000000000000003', '0000000000000000', '0000000000000003', '78797a'],
      ...['04', '01'.repeat(32), 'ffffffffffffffff', '0000000200000001', '0000000000000001', '71'],
      ...['00', '0000000000000002'],
    ].join(''),
  );
});

test('a pack that is cut short anywhere, or goes on after its end, is refused', async () => {
  const bytes = await encoded([
    { type: 'file', checksum: 'cd'.repeat(32), total: 40, offset: 10, data: Buffer.alloc(30, 7) },
    { type: 'commit', checksum: 'ef'.repeat(32), total: 5, offset: 0, data: Buffer.from('12345') },
  ]);
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => decoded([bytes.subarray(0, length)]), { code: 'corrupt' }, `${length} bytes`);
  }
  assert.throws(() => decoded([bytes, Buffer.from([0])]), { code: 'corrupt' });
});

test('absurd records are refused before anything is made of them, with the place where they are', async () => {
  const bytes = await encoded([
    { type: 'dirtree', checksum: 'cd'.repeat(32), total: 4, offset: 0, data: Buffer.alloc(4) },
  ]);
  const changed = (at: number, hex: string) => {
    const copy = Buffer.from(bytes);
    copy.write(hex, at, 'hex');
    return copy;
  };
  const cases: [bytes: Buffer, why: RegExp][] = [
    [changed(0, '00'), /no pack/],
    [changed(8, '06'), /unknown type 6/],
    [changed(8 + 33, '0000000010000000'), /a dirtree of 268435456 bytes \(byte 41\)/],
    [changed(8 + 33, 'fffffffffffffffe'), /a dirtree of/],
    [changed(8 + 41, 'ffffffffffffffff'), /beyond the end/],
    [changed(8 + 41, '0000000000000001'), /beyond the end/],
    [changed(8 + 49, '0000000000000000'), /without bytes/],
    [changed(8 + 49, 'ffffffffffffffff'), /beyond the end/],
    [changed(bytes.length - 8, '0000000000000002'), /1 records/],
  ];
  for (const [input, why] of cases) {
    assert.throws(
      () => decoded([input]),
      (error: OstreeError) => {
        assert.equal(error.code, 'corrupt');
        assert.match(error.message, why);
        assert.ok(error.offset !== undefined && error.offset <= input.length);
        return true;
      },
    );
  }
});

test('mutated bytes are refused or read, and never anything else', async () => {
  const bytes = await encoded([
    { type: 'file', checksum: 'cd'.repeat(32), total: 40, offset: 10, data: Buffer.alloc(30, 7) },
    { type: 'commit', checksum: 'ef'.repeat(32), total: 5, offset: 0, data: Buffer.from('12345') },
  ]);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      (changes) => {
        const copy = Buffer.from(bytes);
        for (const [at, value] of changes) copy[at] = value;
        try {
          decoded([copy]);
        } catch (error) {
          assert.ok(error instanceof OstreeError && error.code === 'corrupt');
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test('lists of objects and their states come back as they were', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ type: fc.constantFrom(...types), checksum }, { noNullPrototype: true })),
      (objects) => {
        assert.deepEqual(decodeObjectList(encodeObjectList(objects)), objects);
      },
    ),
  );
  const state = fc.oneof(
    fc.constantFrom('stored', 'received', 'missing'),
    fc.nat(2 ** 31).map((n) => n * 1000),
  );
  fc.assert(
    fc.property(fc.array(state), (states) => {
      assert.deepEqual(decodeObjectStates(encodeObjectStates(states), states.length), states);
    }),
  );
  assert.throws(() => decodeObjectList(Buffer.alloc(34)), { code: 'invalid' });
  assert.throws(() => decodeObjectList(Buffer.alloc(33)), { code: 'invalid' });
  for (const [hex, count] of [
    ['0404', 2],
    ['02', 2],
    ['0202', 1],
    ['03', 1],
    ['03ffffffffffffffff', 1],
  ] as const) {
    assert.throws(() => decodeObjectStates(Buffer.from(hex, 'hex'), count), { code: 'network' });
  }
});
