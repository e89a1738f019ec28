import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { channelsOf, nextPublications, type Publication, replaces } from './queue.ts';
import type { PublicationRow, ReleaseRow } from './tables.ts';

/** A publication of these channels of one repository. */
function publication(number: number, ...channels: string[]): Publication {
  const row = { number, repository: 'public', state: 'publishing' } as PublicationRow;
  const releases = channels.map((channel, i) => ({ number: number + i, repository: 'public', channel }) as ReleaseRow);
  return { row, releases };
}

const next = (pending: Publication[], ...busy: string[]) =>
  nextPublications(pending, new Set(busy.map((channel) => `public:${channel}`))).map(({ row }) => row.number);

test('publications of different channels go on side by side; of one channel the newest goes first', () => {
  assert.deepEqual(next([publication(1, 'a'), publication(2, 'b')]), [1, 2]);
  assert.deepEqual(next([publication(1, 'a'), publication(2, 'a'), publication(3, 'a')]), [3]);
  assert.deepEqual(next([publication(1, 'a'), publication(2, 'a', 'b')]), [2]);
  assert.deepEqual(next([publication(1, 'a'), publication(2, 'b')], 'a'), [2]);
});

test('a newer publication never overtakes an older one that it does not replace whole', () => {
  assert.deepEqual(next([publication(1, 'a', 'b'), publication(3, 'a')]), [1]);
  assert.deepEqual(next([publication(1, 'a', 'b'), publication(3, 'b', 'c')], 'a'), []);
  // 4 would replace 1, but overtake 2 on b.
  assert.deepEqual(next([publication(1, 'a'), publication(2, 'b', 'c'), publication(4, 'a', 'b')]), [1, 2]);
});

test('whatever waits: no channel is in two that begin, none that is busy, and no channel is overtaken in part', () => {
  const letters = fc.constantFrom('a', 'b', 'c', 'd');
  const sets = fc.array(fc.uniqueArray(letters, { minLength: 1, maxLength: 3 }), { maxLength: 7 });
  fc.assert(
    fc.property(sets, fc.uniqueArray(letters, { maxLength: 2 }), (list, busy) => {
      const pending = list.map((channels, index) => publication(10 * (index + 1), ...channels));
      const taken = new Set(busy.map((channel) => `public:${channel}`));
      const begun = nextPublications(pending, taken);
      const used = begun.flatMap(channelsOf);
      assert.equal(new Set(used).size, used.length);
      assert.ok(used.every((channel) => !taken.has(channel)));
      for (const one of begun) {
        const passed = pending
          .filter((other) => other.row.number < one.row.number)
          .filter((other) => channelsOf(other).some((channel) => channelsOf(one).includes(channel)));
        assert.ok(passed.every((other) => replaces(one, other)));
      }
      if (pending.length > 0 && busy.length === 0) assert.ok(begun.length > 0);
    }),
  );
});
