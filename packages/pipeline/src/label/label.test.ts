import assert from 'node:assert/strict';
import { test } from 'node:test';
import { admitsLabel, isLabel } from './label.ts';

test('a label says who may have something, and if nobody may, why', () => {
  for (const text of ['public', 'internal', 'restricted:nda', 'restricted:licence of the camera vendor (2026)']) {
    assert.ok(isLabel(text), text);
  }
  const wrong = ['', 'Public', 'secret', 'restricted', 'restricted:', 'restricted: nda', 'restricted::x', 'internal:x'];
  for (const text of [...wrong, 'restricted:a,b', 'restricted:a\nb', `restricted:${'x'.repeat(200)}`]) {
    assert.ok(!isLabel(text), text);
  }
});

test('what is public goes anywhere; restricted of any kind only where that or all restricted is admitted', () => {
  const cases: [string[], string, boolean][] = [
    [[], 'public', true],
    [[], 'internal', false],
    [['internal'], 'internal', true],
    [['internal'], 'restricted:nda', false],
    [['restricted'], 'restricted:nda', true],
    [['restricted'], 'internal', false],
    [['restricted:nda'], 'restricted:nda', true],
    [['restricted:nda'], 'restricted:nda-2', false],
    [['public'], 'restricted:public', false],
  ];
  for (const [admitted, label, expected] of cases) assert.equal(admitsLabel(admitted, label), expected, label);
});
