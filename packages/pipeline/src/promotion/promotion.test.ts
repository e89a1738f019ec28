import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Candidate, promotion, type Release } from './promotion.ts';

function release(run: number, tree = `tree${run}`): Release {
  return { run, commit: `commit${run}`, tree: { contents: tree, meta: 'm' } };
}

const table: [behaviour: string, current: Release | null, candidate: Candidate, action: string][] = [
  ['an empty channel takes anything', null, release(1), 'promote'],
  ['a newer run replaces an older one', release(1), release(2), 'promote'],
  ['an older run never replaces a newer one', release(3), release(2), 'superseded'],
  ['an older run does not even confirm a newer one', release(3, 'same'), release(2, 'same'), 'superseded'],
  ['the same tree is not released again', release(1, 'same'), release(2, 'same'), 'confirm'],
  ['repeating a promotion changes nothing', release(2), release(2), 'confirm'],
  ['a run may replace its own release', release(2), release(2, 'other'), 'promote'],
  ['a release by hand stays when the run of its time ends', { ...release(2), byHand: true }, release(2), 'superseded'],
  ['it stays even when that run made its tree', { ...release(2, 'x'), byHand: true }, release(2, 'x'), 'superseded'],
  ['the next run replaces a release by hand', { ...release(2), byHand: true }, release(3), 'promote'],
  [
    'a release by hand replaces that of the run of its time',
    release(2),
    { ...release(2, 'x'), byHand: true },
    'promote',
  ],
  ['by hand again', { ...release(2), byHand: true }, { ...release(2, 'x'), byHand: true }, 'promote'],
  ['an expectation that holds', release(1), { ...release(2), expect: 'commit1' }, 'promote'],
  ['an expectation that does not hold', release(1), { ...release(2), expect: 'commit0' }, 'conflict'],
  ['nothing was expected, but something is there', release(1), { ...release(2), expect: null }, 'conflict'],
  ['nothing was expected and nothing is there', null, { ...release(2), expect: null }, 'promote'],
  ['something was expected, but nothing is there', null, { ...release(2), expect: 'commit1' }, 'conflict'],
];

for (const [behaviour, current, candidate, action] of table) {
  test(behaviour, () => assert.equal(promotion(current, candidate).action, action));
}

test('what a promotion replaces is what the channel held', () => {
  assert.deepEqual(promotion(release(1), release(2)), { action: 'promote', replaces: 'commit1' });
});

test('in whatever order runs end, the newest one is what the channel ends with', () => {
  const finishes = fc.array(fc.record({ run: fc.integer({ min: 1, max: 9 }), tree: fc.integer({ min: 1, max: 3 }) }), {
    minLength: 1,
  });
  fc.assert(
    fc.property(finishes, (events) => {
      let current: Release | null = null;
      for (const { run, tree } of events) {
        const candidate = release(run, `tree${tree}`);
        const decision = promotion(current, candidate);
        if (decision.action === 'promote') current = candidate;
        if (decision.action === 'confirm') current = { ...current!, run };
      }
      const newest = Math.max(...events.map((event) => event.run));
      const wanted = events.filter((event) => event.run === newest).at(-1)!;
      assert.equal(current!.run, newest);
      assert.equal(current!.tree.contents, `tree${wanted.tree}`);
    }),
  );
});
