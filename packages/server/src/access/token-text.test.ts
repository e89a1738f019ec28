import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { makeTokenText, readTokenText } from './token-text.ts';

test('a token has a prefix and a length that secret scanners can look for, and names itself', () => {
  const { text, id } = makeTokenText();
  assert.match(text, /^tl_[0-9A-Za-z]{46}$/);
  assert.ok(text.startsWith(`tl_${id}`));
  assert.deepEqual(readTokenText(text), { id });
  assert.notEqual(makeTokenText().id, id);
});

test('a token that lost, gained or changed a character is known as mistyped; other text is none', () => {
  fc.assert(
    fc.property(fc.nat(48), fc.constantFrom(...'09AZaz_-ü'), (place, char) => {
      const { text } = makeTokenText();
      const changed = text.slice(0, place) + char + text.slice(place + 1);
      const cut = text.slice(0, place) + text.slice(place + 1);
      const longer = text.slice(0, place) + char + text.slice(place);
      for (const wrong of [changed, cut, longer]) {
        if (wrong === text) continue;
        assert.equal(readTokenText(wrong), wrong.startsWith('tl_') ? 'mistyped' : null, wrong);
      }
    }),
  );
  for (const text of ['', 'x', 'tl', 'n'.repeat(43), 'ghp_0123456789']) assert.equal(readTokenText(text), null);
});
