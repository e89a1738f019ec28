import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OstreeError } from '../errors.ts';
import { decode } from './decode.ts';
import { encode, type Value } from './encode.ts';
import { parseType } from './type.ts';

test('an empty dirtree is one zero byte', () => {
  assert.deepEqual(encode('(a(say)a(sayay))', [[], []]), Buffer.from([0]));
});

test('examples of the GVariant specification have its bytes', () => {
  assert.equal(encode('(si)', ['foo', -1]).toString('hex'), '666f6f00ffffffff04');
  assert.equal(
    encode('as', ['i', 'can', 'has', 'strings?']).toString('latin1'),
    'i\0can\0has\0strings?\0\x02\x06\x0a\x13',
  );
  assert.equal(encode('a{si}', [['hi', -2]]).toString('hex'), '68690000feffffff0309');
  assert.equal(
    encode('((ys)as)', [
      [0x69, 'can'],
      ['has', 'strings?'],
    ]).toString('latin1'),
    'ican\0has\0strings?\0\x04\x0d\x05',
  );
  assert.equal(encode('v', { type: 'i', value: 1 }).toString('latin1'), '\x01\0\0\0\0i');
});

const leaf: Record<string, fc.Arbitrary<Value>> = {
  y: fc.nat(255),
  b: fc.boolean(),
  q: fc.nat(65535),
  i: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  u: fc.nat(2 ** 32 - 1),
  t: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  s: fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0') && text.isWellFormed()),
  ay: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
};

/** A type together with a value of it. */
const typed: fc.Arbitrary<[string, Value]> = fc.letrec<{ any: [string, Value] }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(...Object.keys(leaf)).chain((type) => leaf[type]!.map((value): [string, Value] => [type, value])),
    fc
      .array(tie('any'), { maxLength: 5 })
      .map((members): [string, Value] => [
        `(${members.map(([type]) => type).join('')})`,
        members.map(([, value]) => value),
      ]),
    tie('any').chain(([type, value]) =>
      type === 'y'
        ? fc.constant<[string, Value]>(['au', []])
        : fc.nat(40).map((n): [string, Value] => [`a${type}`, Array(n).fill(value)]),
    ),
    tie('any').map(([type, value]): [string, Value] => ['v', { type, value }]),
    fc
      .array(fc.tuple(leaf.s!, tie('any')), { maxLength: 4 })
      .map((pairs): [string, Value] => ['a{sv}', pairs.map(([key, [type, value]]): Value => [key, { type, value }])]),
  ),
})).any;

test('what was encoded is decoded the same', () => {
  fc.assert(
    fc.property(typed, ([type, value]) => {
      assert.deepEqual(decode(type, encode(type, value)), value);
    }),
    { numRuns: 2000 },
  );
});

test('mutated bytes are refused with an offset, or are another value in normal form', () => {
  fc.assert(
    fc.property(
      typed,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      fc.nat(3),
      ([type, value], edits, cut) => {
        const data = encode(type, value);
        for (const [at, byte] of edits) if (data.length > 0) data[at % data.length] = byte;
        const mutated = data.subarray(0, Math.max(0, data.length - cut));
        let decoded: Value;
        try {
          decoded = decode(type, mutated);
        } catch (error) {
          assert.ok(error instanceof OstreeError && error.code === 'corrupt', String(error));
          assert.match(error.message, /at byte \d+$/);
          return;
        }
        // NaN payloads aside (no doubles here), one value has one serialisation.
        assert.deepEqual(encode(type, decoded), Buffer.from(mutated));
      },
    ),
    { numRuns: 5000 },
  );
});

test('type strings that nest absurdly deep or are malformed are refused', () => {
  for (const type of ['', '(', 'a', '{sv', '{(s)s}', 'z', ')', 'ss', 'a'.repeat(5000), '('.repeat(5000)]) {
    assert.throws(() => parseType(type), OstreeError, JSON.stringify(type.slice(0, 20)));
  }
  const bomb = Buffer.from(`\0${'a'.repeat(100_000)}y`);
  assert.throws(() => decode('v', bomb), { code: 'corrupt' });
});
