import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { noise } from '../testing/sample-repo.ts';
import { encodePatch } from './bsdiff.ts';
import { bspatch } from './bspatch.ts';
import { findSteps } from './matcher.ts';

/** What a patch of `old` makes, and how many bytes of it are not zero. */
function patched(old: Uint8Array, content: Uint8Array): { made: Buffer; literal: number } {
  const patch = encodePatch(old, content, findSteps(old, content));
  const pieces: Buffer[] = [];
  const source = { size: old.length, read: (offset: number, length: number) => old.subarray(offset, offset + length) };
  bspatch(source, patch, content.length, (piece) => pieces.push(Buffer.from(piece)), 'x');
  return { made: Buffer.concat(pieces), literal: patch.filter((byte) => byte !== 0).length };
}

/** Edits of old content: stretches that are kept, changed, dropped, doubled, or new. */
const edits = fc.array(
  fc.record({
    kind: fc.constantFrom('keep', 'change', 'drop', 'again', 'new'),
    length: fc.integer({ min: 0, max: 400 }),
    seed: fc.integer({ min: 1, max: 1000 }),
  }),
  { maxLength: 40 },
);

test('what is found in the old content makes the new, however it was edited', () => {
  fc.assert(
    fc.property(edits, fc.integer({ min: 0, max: 9000 }), (list, size) => {
      const old = noise(size, 7);
      const pieces: Buffer[] = [];
      let at = 0;
      for (const { kind, length, seed } of list) {
        const piece = Buffer.from(old.subarray(at, at + length));
        if (kind === 'change') for (let index = 0; index < piece.length; index += 9) piece[index] = seed & 0xff;
        if (kind === 'again') pieces.push(Buffer.from(old.subarray(seed, seed + length)));
        else if (kind !== 'drop') pieces.push(kind === 'new' ? noise(length, seed) : piece);
        if (kind !== 'new' && kind !== 'again') at += length;
      }
      const content = Buffer.concat(pieces);
      assert.deepEqual(patched(old, content).made, content);
    }),
    { numRuns: 150 },
  );
});

test('content with nothing in common, empty content, and runs of one byte are patched as well', () => {
  const contents = [
    noise(0),
    noise(5),
    noise(30_000, 2),
    noise(30_000, 3),
    Buffer.alloc(50_000),
    Buffer.alloc(49_999, 1),
  ];
  for (const old of contents) for (const content of contents) assert.deepEqual(patched(old, content).made, content);
});

test('finds code whose addresses have moved, and what has moved itself', () => {
  const old = noise(100_000, 5);
  const moved = Buffer.concat([old.subarray(60_000), noise(100, 9), old.subarray(0, 60_000)]);
  for (let at = 0; at < moved.length; at += 50) moved[at] = (moved[at]! + 3) & 0xff;
  const { made, literal } = patched(old, moved);
  assert.deepEqual(made, moved);
  assert.ok(literal < 2400, `${literal} bytes`);
});
