import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createEscapeStripper } from './escapes.ts';

test('escapes go, wherever the stream is cut, and nothing else does', () => {
  const words = fc.array(
    fc.oneof(
      fc.constantFrom('\x1b[0m', '\x1b[1;32m', '\x1b[10;16H', '\x1b]0;title\x07', '\x1b(B', '\x1b[?25l', '\x1bM'),
      fc.stringMatching(/^[ -~]{0,6}$/),
    ),
  );
  fc.assert(
    fc.property(words, fc.array(fc.nat(40)), (parts, cuts) => {
      const text = parts.join('');
      const strip = createEscapeStripper();
      let got = '';
      let at = 0;
      for (const length of cuts) {
        got += strip(text.slice(at, at + length));
        at += length;
      }
      got += strip(text.slice(Math.min(at, text.length)));
      const plain = parts.filter((part) => !part.startsWith('\x1b')).join('');
      assert.equal(got, plain);
    }),
  );
});
