import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { decideRetention, type ReleaseFact, type RetentionFacts } from './decide.ts';

const DAY = 86_400_000;
const NOW = 1_000 * DAY;

const published = (number: number, commit: string, o: Partial<ReleaseFact> = {}): ReleaseFact => ({
  number,
  channel: 'robot/edge',
  commit,
  state: 'published',
  publishedAt: NOW - (100 - number) * DAY,
  confirms: false,
  ...o,
});

function facts(o: Partial<RetentionFacts>): RetentionFacts {
  return {
    now: NOW,
    policy: { releases: 2, youngerThan: 0, grace: 1 },
    deltaSources: 0,
    commits: new Set(o.releases?.map(({ commit }) => commit)),
    refs: new Map(),
    releases: [],
    pins: [],
    held: [],
    dropped: new Map(),
    ...o,
  };
}

/** What is kept and why, `commit: reason; reason`. */
function told(o: Partial<RetentionFacts>): string[] {
  const { kept } = decideRetention(facts(o));
  return [...kept].map(([commit, reasons]) => `${commit}: ${reasons.map(({ text }) => text).join('; ')}`).sort();
}

describe('what is kept', () => {
  test('the newest releases of each channel', () => {
    const releases = [
      published(1, 'a'),
      published(2, 'b'),
      published(3, 'c', { channel: 'robot/stable' }),
      published(4, 'd'),
    ];
    assert.deepEqual(told({ releases }), [
      'b: release 2 of robot/edge is one of its newest 2',
      'c: robot/stable has it now (release 3)',
      'd: robot/edge has it now (release 4)',
    ]);
  });

  test('a release that was noted again counts once; one that came back counts as the newest', () => {
    const again = [published(1, 'a'), published(2, 'b'), published(3, 'b', { confirms: true })];
    assert.deepEqual(told({ releases: again }), [
      'a: release 1 of robot/edge is one of its newest 2',
      'b: robot/edge has it now (release 2)',
    ]);
    const back = [published(1, 'a'), published(2, 'b'), published(3, 'c'), published(4, 'a')];
    assert.deepEqual([...decideRetention(facts({ releases: back })).dropped.keys()], ['b']);
  });

  test('young ones, however many', () => {
    const releases = [1, 2, 3, 4].map((number) => published(number, `c${number}`));
    const policy = { releases: 1, youngerThan: 98.5, grace: 0 };
    assert.deepEqual(told({ releases, policy }), [
      'c2: release 2 of robot/edge is younger than 98.5 days',
      'c3: release 3 of robot/edge is younger than 98.5 days',
      'c4: robot/edge has it now (release 4)',
    ]);
  });

  test('what is being published, and what deltas to it are made from', () => {
    const releases = [
      published(1, 'a'),
      published(2, 'b'),
      published(3, 'c'),
      published(4, 'a', { state: 'publishing', publishedAt: null }),
    ];
    const policy = { releases: 1, youngerThan: 0, grace: 0 };
    assert.deepEqual(told({ releases, policy, deltaSources: 2 }), [
      'a: release 4 of robot/edge is being published',
      'b: the delta to the release that is being published on robot/edge is made from release 2',
      'c: robot/edge has it now (release 3); the delta to the release that is being published on robot/edge is made from release 3',
    ]);
    assert.deepEqual(told({ releases: releases.slice(0, 3), policy, deltaSources: 2 }), [
      'c: robot/edge has it now (release 3)',
    ]);
  });

  test('what failed, was abandoned or withdrawn is no reason', () => {
    const releases = (['failed', 'abandoned', 'withdrawn'] as const).map((state, index) =>
      published(index, state, { state }),
    );
    assert.deepEqual(told({ releases }), []);
  });

  test('what refs name, whoever set them', () => {
    const commits = new Set(['a', 'b', 'c']);
    const refs = new Map([
      ['robot/edge', 'b'],
      ['robot/edge/not', 'a'],
    ]);
    assert.deepEqual(told({ commits, refs, releases: [published(2, 'b')] }), [
      'a: the ref robot/edge/not names it',
      'b: robot/edge has it now (release 2)',
    ]);
  });

  test('what is pinned, by whom and why', () => {
    const pins = [{ commit: 'a', actor: 'alice', reason: 'the boards of a customer' }];
    assert.deepEqual(told({ commits: new Set(['a', 'b']), pins }), ['a: pinned by alice: the boards of a customer']);
  });

  test('what devices run, may be fetching, may fall back to', () => {
    const held = [
      { commit: 'c', as: 'running' as const, devices: 3, one: 'board-1' },
      { commit: 'a', as: 'running' as const, devices: 1, one: 'board-4' },
      { commit: 'd', as: 'offered' as const, devices: 1, one: 'board-1' },
      { commit: 'b', as: 'fallback' as const, devices: 2, one: null },
      { commit: 'gone', as: 'fallback' as const, devices: 1, one: null },
    ];
    assert.deepEqual(told({ commits: new Set(['a', 'b', 'c', 'd']), held }), [
      'a: board-4 runs it',
      'b: 2 devices may fall back to it',
      'c: board-1 and 2 others run it',
      'd: board-1 may be fetching it',
    ]);
  });
});

describe('what is dropped', () => {
  const commits = new Set(['a']);
  const dropped = (droppedAt: number, unlistedAt: number | null) => new Map([['a', { droppedAt, unlistedAt }]]);

  test('goes when its grace has passed since nothing named it, and not before', () => {
    const decide = (o: Partial<RetentionFacts>) => decideRetention(facts({ commits, ...o }));
    assert.deepEqual(decide({}).dropped.get('a'), { since: NOW, goesAt: null });
    // Dropped long ago, but the summary still names it: the grace has not begun.
    assert.deepEqual(decide({ dropped: dropped(5, null) }).dropped.get('a'), { since: 5, goesAt: null });
    assert.equal(decide({ dropped: dropped(5, null) }).going.size, 0);
    assert.equal(decide({ dropped: dropped(5, NOW - DAY + 1) }).going.size, 0);
    assert.deepEqual([...decide({ dropped: dropped(5, NOW - DAY) }).going], ['a']);
    const atOnce = { releases: 1, youngerThan: 0, grace: 0 };
    assert.deepEqual([...decide({ policy: atOnce, dropped: dropped(5, NOW) }).going], ['a']);
    assert.equal(decide({ policy: atOnce }).going.size, 0);
  });

  test('is kept again as soon as there is a reason', () => {
    const pins = [{ commit: 'a', actor: 'x', reason: 'y' }];
    const decision = decideRetention(facts({ commits, pins, dropped: dropped(5, 5) }));
    assert.deepEqual([decision.dropped.size, decision.going.size, decision.kept.size], [0, 0, 1]);
  });
});

const commit = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
const someFacts: fc.Arbitrary<RetentionFacts> = fc.record({
  now: fc.constant(NOW),
  policy: fc.record({
    releases: fc.integer({ min: 1, max: 4 }),
    youngerThan: fc.constantFrom(0, 1, 50, 99),
    grace: fc.constantFrom(0, 0.5, 3),
  }),
  deltaSources: fc.nat(3),
  commits: fc.array(commit).map((list) => new Set(list)),
  refs: fc.dictionary(fc.constantFrom('robot/edge', 'x'), commit).map((refs) => new Map(Object.entries(refs))),
  releases: fc
    .array(
      fc.record({
        channel: fc.constantFrom('robot/edge', 'robot/stable'),
        commit,
        state: fc.constantFrom('published' as const, 'published' as const, 'publishing' as const, 'failed' as const),
        publishedAt: fc.option(fc.integer({ min: NOW - 100 * DAY, max: NOW })),
        confirms: fc.boolean(),
      }),
      { maxLength: 10 },
    )
    .map((list) => list.map((release, index) => ({ ...release, number: index + 1 }))),
  pins: fc.array(fc.record({ commit, actor: fc.constant('x'), reason: fc.constant('y') }), { maxLength: 2 }),
  held: fc.array(
    fc.record({
      commit,
      as: fc.constantFrom('running' as const, 'offered' as const, 'fallback' as const),
      devices: fc.integer({ min: 1, max: 3 }),
      one: fc.option(fc.string({ minLength: 1, maxLength: 3 })),
    }),
    { maxLength: 3 },
  ),
  dropped: fc
    .dictionary(
      commit,
      fc.record({
        droppedAt: fc.integer({ min: NOW - 10 * DAY, max: NOW }),
        unlistedAt: fc.option(fc.integer({ min: NOW - 10 * DAY, max: NOW })),
      }),
    )
    .map((rows) => new Map(Object.entries(rows))),
});

describe('whatever the facts', () => {
  test('each commit is kept or dropped, and nothing that is needed is dropped', () => {
    fc.assert(
      fc.property(someFacts, (known) => {
        const { kept, dropped, going } = decideRetention(known);
        assert.deepEqual([...kept.keys(), ...dropped.keys()].sort(), [...known.commits].sort());
        for (const reasons of kept.values()) assert.ok(reasons.length > 0);
        const needed = [
          ...known.refs.values(),
          ...known.pins.map((pin) => pin.commit),
          ...known.held.map((one) => one.commit),
          ...known.releases.filter(({ state }) => state === 'publishing').map((release) => release.commit),
        ];
        for (const channel of ['robot/edge', 'robot/stable']) {
          const newest = known.releases
            .filter((release) => release.channel === channel && release.state === 'published')
            .sort((a, b) => b.number - a.number);
          if (newest[0]) needed.push(newest[0].commit);
          const real = newest.filter(({ confirms }) => !confirms);
          needed.push(...real.slice(0, known.policy.releases).map((release) => release.commit));
          const since = NOW - known.policy.youngerThan * DAY;
          needed.push(...real.filter(({ publishedAt }) => (publishedAt ?? 0) > since).map((release) => release.commit));
        }
        for (const one of needed) assert.ok(one === null || !dropped.has(one), `${one} is needed`);
        for (const one of dropped.keys()) assert.ok(!needed.includes(one));
        for (const one of going) {
          const before = known.dropped.get(one);
          assert.ok(dropped.has(one) && before?.unlistedAt !== undefined && before.unlistedAt !== null);
          assert.ok(before.unlistedAt + known.policy.grace * DAY <= known.now);
        }
        for (const [one, { since }] of dropped) assert.equal(since, known.dropped.get(one)?.droppedAt ?? known.now);
      }),
      { numRuns: 500 },
    );
  });

  test('more reasons never make more go', () => {
    fc.assert(
      fc.property(someFacts, commit, (known, one) => {
        const pinned = { ...known, pins: [...known.pins, { commit: one, actor: 'x', reason: 'y' }] };
        const [before, after] = [decideRetention(known), decideRetention(pinned)];
        const without = (set: Iterable<string>) => [...set].filter((name) => name !== one);
        assert.deepEqual([...after.going], without(before.going));
        assert.deepEqual([...after.dropped.keys()], without(before.dropped.keys()));
      }),
    );
  });
});
