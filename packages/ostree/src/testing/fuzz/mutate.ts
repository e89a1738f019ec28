import type { Random } from './random.ts';

/** Bytes longer than this are cut: a decoder that is slow on megabytes is tested by its own tests. */
const MAX_BYTES = 256 * 1024;

/** Numbers at which lengths and offsets go wrong. */
const NUMBERS = [0, 1, -1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

const TOKENS = [
  '..',
  '../',
  '/',
  '\0',
  '//',
  '/etc/passwd',
  '\n',
  '=',
  'a'.repeat(300),
  '\u202e',
  '\xff\xfe',
  '-1',
  '1e9',
];

type Mutation = (data: Buffer, random: Random, others: readonly Buffer[]) => Buffer;

const mutations: Mutation[] = [
  function flipBit(data, random) {
    const at = random.below(data.length);
    data[at]! ^= 1 << random.below(8);
    return data;
  },
  function setByte(data, random) {
    data[random.below(data.length)] = random.next();
    return data;
  },
  function setNumber(data, random) {
    const width = random.pick([1, 2, 4, 8]);
    if (data.length < width) return data;
    const at = random.below(data.length - width + 1);
    const value = BigInt.asUintN(8 * width, BigInt(random.pick(NUMBERS) + random.below(3) - 1));
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(value);
    const number = bytes.subarray(0, width);
    (random.below(2) === 0 ? number : number.reverse()).copy(data, at);
    return data;
  },
  function addToNumber(data, random) {
    const at = random.below(data.length);
    data[at] = data[at]! + random.below(9) - 4;
    return data;
  },
  function truncate(data, random) {
    return data.subarray(0, random.below(data.length + 1));
  },
  function cutOut(data, random) {
    const at = random.below(data.length);
    const length = 1 + random.below(Math.min(32, data.length - at));
    return Buffer.concat([data.subarray(0, at), data.subarray(at + length)]);
  },
  function insert(data, random) {
    const at = random.below(data.length + 1);
    const bytes = random.below(2) === 0 ? random.bytes(1 + random.below(16)) : Buffer.alloc(1 + random.below(64));
    return Buffer.concat([data.subarray(0, at), bytes, data.subarray(at)]);
  },
  function insertToken(data, random) {
    const at = random.below(data.length + 1);
    const token = Buffer.from(random.pick(TOKENS), random.below(2) === 0 ? 'utf8' : 'latin1');
    const over = random.below(2) === 0 ? 0 : token.length;
    return Buffer.concat([data.subarray(0, at), token, data.subarray(at + over)]);
  },
  function repeat(data, random) {
    const at = random.below(data.length);
    const piece = data.subarray(at, at + 1 + random.below(Math.min(256, data.length - at)));
    const times = 1 + random.below(random.below(8) === 0 ? 200 : 4);
    const pieces = Array.from({ length: times }, () => piece);
    return Buffer.concat([data.subarray(0, at), ...pieces, data.subarray(at)]);
  },
  function swap(data, random) {
    const length = 1 + random.below(16);
    if (data.length < 2 * length) return data;
    const [a, b] = [random.below(data.length - length), random.below(data.length - length)];
    const copy = Buffer.from(data);
    data.copy(copy, a, b, b + length);
    data.copy(copy, b, a, a + length);
    return copy;
  },
  function splice(data, random, others) {
    const other = random.pick(others);
    return Buffer.concat([
      data.subarray(0, random.below(data.length + 1)),
      other.subarray(random.below(other.length + 1)),
    ]);
  },
];

/** A sample with one to eight things done to it. The sample itself stays as it is. */
export function mutate(samples: readonly Buffer[], random: Random): Buffer {
  let data: Buffer = Buffer.from(random.pick(samples));
  // Mostly few: one wrong byte in something else whole gets deepest.
  const times = 1 + random.below(random.below(3) === 0 ? 8 : 2);
  for (let time = 0; time < times; time++) {
    data = data.length === 0 ? random.bytes(1 + random.below(64)) : random.pick(mutations)(data, random, samples);
  }
  return data.length > MAX_BYTES ? data.subarray(0, MAX_BYTES) : data;
}
