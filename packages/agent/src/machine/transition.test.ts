import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type BoardView, type Event, type Machine, START } from './state.ts';
import { isBad, isResting, REBOOT_ATTEMPTS, transition, VERIFY_ATTEMPTS } from './transition.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);
const C = 'c'.repeat(64);

function after(machine: Machine, ...events: Event[]): Machine {
  return events.reduce((at, event) => transition(at, event, 1), machine);
}
const board = (o: Partial<BoardView>): Event => ({
  kind: 'started',
  board: { bootId: '1', booted: A, next: A, deployed: [A], exhausted: false, counting: false, ...o },
});
const toB: Event[] = [
  { kind: 'due' },
  { kind: 'offered', release: B, booted: A },
  { kind: 'deployed' },
  { kind: 'reboot', bootId: '1', booted: A },
];
const upWithB = board({ bootId: '2', booted: B, next: B, deployed: [A, B] });

test('a good release goes all the way', () => {
  assert.deepEqual(after(START, ...toB, upWithB, { kind: 'healthy' }).state, { kind: 'good', release: B });
});

test('an unhealthy release is remembered before the board goes back, and never taken again', () => {
  const back = after(START, ...toB, upWithB, { kind: 'unhealthy', why: 'no camera', bootId: '2' });
  assert.ok(isBad(back, B));
  assert.equal(back.state.kind, 'rebooting');
  const home = after(back, board({ bootId: '3', booted: A, next: A, deployed: [A, B] }));
  assert.deepEqual(home.state, { kind: 'rolled-back', from: B, why: 'no camera' });
  const offered = after(home, { kind: 'due' }, { kind: 'offered', release: B, booted: A });
  assert.equal(offered.state.kind, 'rolled-back');
});

test('a release is forgiven when the server no longer has what it was seen to have, and not before', () => {
  const sick = after(START, ...toB, upWithB, { kind: 'unhealthy', why: 'x', bootId: '2' });
  const home = after(sick, board({ bootId: '3', booted: A, next: A, deployed: [A, B] }));
  const unknown = after(home, { kind: 'judged', bad: [] });
  assert.equal(unknown, home, 'the server never knew: that is no word about it');
  const told = after(home, { kind: 'judged', bad: [B, C] });
  assert.ok(isBad(told, B) && !isBad(told, C));
  const forgiven = after(told, { kind: 'judged', bad: [C] });
  assert.deepEqual(forgiven, { state: { kind: 'idle' }, bad: [] });
  const offered = after(forgiven, { kind: 'due' }, { kind: 'offered', release: B, booted: A });
  assert.equal(offered.state.kind, 'downloading');
});

test('an unhealthy release with nothing before it is kept running, as failed', () => {
  const first = after(
    START,
    { kind: 'due' },
    { kind: 'offered', release: B, booted: null },
    { kind: 'deployed' },
    { kind: 'reboot', bootId: '1', booted: null },
    board({ bootId: '2', booted: B, next: B, deployed: [B] }),
    { kind: 'unhealthy', why: 'x', bootId: '2' },
  );
  assert.deepEqual(first.state, { kind: 'failed', release: B, why: 'x' });
});

test('a fall back of the boot loader is recognised while rebooting, verifying, and after', () => {
  const fallen = board({ bootId: '5', booted: A, next: B, deployed: [A, B], exhausted: true });
  for (const before of [
    after(START, ...toB),
    after(START, ...toB, upWithB),
    after(START, ...toB, upWithB, { kind: 'healthy' }),
  ]) {
    const machine = after(before, fallen);
    assert.equal(machine.state.kind, 'rolled-back', before.state.kind);
    assert.ok(isBad(machine, B));
  }
});

test('a person who boots an older deployment once does not judge the good release', () => {
  const good = after(START, ...toB, upWithB, { kind: 'healthy' });
  const chosen = after(good, board({ bootId: '5', booted: A, next: B, deployed: [A, B] }));
  assert.deepEqual(chosen, { state: { kind: 'idle' }, bad: [] });
});

test('a reboot that did not happen is done again without a limit, one that leads nowhere with one', () => {
  let machine = after(START, ...toB);
  for (let i = 0; i < 50; i++) machine = after(machine, board({ deployed: [A, B] }));
  assert.equal(machine.state.kind, 'rebooting');
  for (let i = 0; i < REBOOT_ATTEMPTS; i++) machine = after(machine, board({ bootId: `r${i}`, deployed: [A, B] }));
  assert.equal(machine.state.kind, 'failed');
});

test('a release that kills the agent during verification is left in the end', () => {
  let machine = after(START, ...toB, upWithB);
  for (let i = 0; i < VERIFY_ATTEMPTS; i++) machine = after(machine, upWithB);
  assert.ok(machine.state.kind === 'rebooting' && machine.state.undo !== null);
});

test('an unreachable server and a full disk change nothing that is known', () => {
  const good = after(START, ...toB, upWithB, { kind: 'healthy' });
  assert.deepEqual(after(good, { kind: 'due' }, { kind: 'unreachable' }), good);
  const blocked = after(
    good,
    { kind: 'due' },
    { kind: 'offered', release: C, booted: B },
    { kind: 'obstructed', why: 'no space' },
  );
  assert.equal(blocked.state.kind, 'blocked');
  assert.deepEqual(after(blocked, { kind: 'due' }, { kind: 'offered', release: B, booted: B }), good);
});

const release = fc.constantFrom(A, B, C);
const maybe = fc.option(release);
const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ kind: fc.constant('due' as const) }),
  fc.record({ kind: fc.constant('offered' as const), release: maybe, booted: maybe }),
  fc.record({ kind: fc.constant('judged' as const), bad: fc.uniqueArray(release) }),
  fc.record({ kind: fc.constant('unreachable' as const) }),
  fc.record({ kind: fc.constant('deployed' as const) }),
  fc.record({ kind: fc.constant('obstructed' as const), why: fc.constant('w') }),
  fc.record({ kind: fc.constant('unusable' as const), why: fc.constant('w') }),
  fc.record({ kind: fc.constant('reboot' as const), bootId: fc.constantFrom('1', '2'), booted: maybe }),
  fc.record({ kind: fc.constant('healthy' as const) }),
  fc.record({ kind: fc.constant('unhealthy' as const), why: fc.constant('w'), bootId: fc.constantFrom('1', '2') }),
  fc.record({
    kind: fc.constant('started' as const),
    board: fc.record({
      bootId: fc.constantFrom('1', '2', '3'),
      booted: maybe,
      next: maybe,
      deployed: fc.uniqueArray(release),
      exhausted: fc.boolean(),
      counting: fc.boolean(),
    }),
  }),
  fc.record({ kind: fc.constant('held' as const), release: maybe, booted: maybe, why: fc.constantFrom('v', 'w') }),
  fc.record({
    ...{ kind: fc.constant('leave' as const), to: release, booted: release },
    ...{ bootId: fc.constantFrom('1', '2'), why: fc.constant('w') },
  }),
);

test('whatever happens: no bad release is worked on, and none is forgotten without the word of the server', () => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 60 }), (events) => {
      let machine = START;
      for (const event of events) {
        const before = machine;
        machine = transition(machine, event, 7);
        if (event.kind === 'judged') {
          const kept = before.bad.filter((entry) => entry.told !== true || event.bad.includes(entry.release));
          const names = (list: Machine['bad']) => list.map((entry) => entry.release);
          assert.deepEqual(names(machine.bad), names(kept), 'only what the server knew and no longer has is forgotten');
        } else assert.deepEqual(machine.bad.slice(0, before.bad.length), before.bad, 'bad only grows');
        const { state } = machine;
        const wanted =
          state.kind === 'downloading' || state.kind === 'staged' || state.kind === 'verifying'
            ? state.release
            : state.kind === 'rebooting' && state.undo === null
              ? state.to
              : null;
        if (wanted !== null) assert.ok(!isBad(machine, wanted), `${state.kind} of a bad release`);
        if (state.kind === 'failed') assert.ok(isBad(machine, state.release));
        if (state.kind === 'rolled-back') assert.ok(isBad(machine, state.from));
        if (state.kind === 'rebooting' && state.undo === null) {
          assert.ok(
            before.state.kind === 'staged' || before.state.kind === 'rebooting',
            'only what is complete is booted',
          );
        }
      }
    }),
    { numRuns: 2000 },
  );
});

test('a person who boots another deployment while the update is tried does not judge it', () => {
  const chosen = board({ bootId: '5', booted: A, next: B, deployed: [A, B], counting: true });
  for (const before of [after(START, ...toB), after(START, ...toB, upWithB)]) {
    const machine = after(before, chosen);
    assert.deepEqual(machine.state, { kind: 'idle' }, before.state.kind);
    assert.ok(!isBad(machine, B));
  }
});

test('an agent that lost its memory in an update goes on with it where the boot loader still counts', () => {
  const machine = after(START, board({ bootId: '2', booted: B, next: B, deployed: [B, A], counting: true }));
  assert.deepEqual(machine.state, { kind: 'verifying', release: B, from: A, attempt: 1 });
});

test('what must not be done now is held back, and why is said once', () => {
  const held = after(START, { kind: 'due' }, { kind: 'held', release: B, booted: A, why: 'the robot drives' });
  assert.deepEqual(held.state, { kind: 'blocked', release: B, why: 'the robot drives', resting: { kind: 'idle' } });
  const nothing = after(START, { kind: 'due' }, { kind: 'held', release: A, booted: A, why: 'the robot drives' });
  assert.deepEqual(nothing.state, { kind: 'idle' });

  const staged = after(START, { kind: 'due' }, { kind: 'offered', release: B, booted: A }, { kind: 'deployed' });
  const waiting = after(staged, { kind: 'held', release: B, booted: A, why: 'night' });
  assert.deepEqual(waiting.state, { kind: 'staged', release: B, resting: { kind: 'idle' }, waits: 'night' });
  assert.equal(after(waiting, { kind: 'held', release: B, booted: A, why: 'night' }), waiting);
  assert.equal(after(waiting, { kind: 'offered', release: B, booted: A }), waiting);
  assert.equal(after(waiting, { kind: 'offered', release: C, booted: A }).state.kind, 'downloading');
  assert.deepEqual(after(waiting, { kind: 'offered', release: null, booted: A }).state, { kind: 'idle' });
  assert.equal(after(waiting, { kind: 'reboot', bootId: '1', booted: A }).state.kind, 'rebooting');
});

test('a person goes back to the release before: the one that is left is not taken again', () => {
  const good = after(START, ...toB, upWithB, { kind: 'healthy' });
  const left = after(good, { kind: 'leave', to: A, booted: B, bootId: '2', why: 'by hand' });
  assert.deepEqual([left.state.kind, isBad(left, B)], ['rebooting', true]);
  const back = after(left, board({ bootId: '3', booted: A, next: A, deployed: [A] }));
  assert.deepEqual(back.state, { kind: 'rolled-back', from: B, why: 'by hand' });
});

test('a release that is forgiven while the board leaves it is neither rested on nor bad again', () => {
  const good = after(START, ...toB, upWithB, { kind: 'healthy' });
  const leaving = after(
    ...[good, { kind: 'leave', to: A, booted: B, bootId: '2', why: 'by hand' } as const],
    ...[{ kind: 'judged', bad: [B] } as const, { kind: 'judged', bad: [] } as const],
  );
  assert.deepEqual([leaving.state.kind, isBad(leaving, B)], ['rebooting', false]);
  const back = after(leaving, board({ bootId: '3', booted: A, next: A, deployed: [A] }));
  const stayed = after(leaving, board({ bootId: '3', booted: B, next: B, deployed: [B] }));
  for (const { state, bad } of [back, stayed]) assert.deepEqual([state, bad], [{ kind: 'idle' }, []]);
});

/** A board in the small: what the agent's actions do to it, and what power cuts and boot loaders do. */
interface Model {
  on: boolean;
  boot: number;
  booted: string | null;
  next: string | null;
  fallback: string | null;
  tries: number;
  deployed: Set<string>;
}
const TRIES = 3;

function powerOn(model: Model, panics: Set<string>): void {
  if (model.on) return;
  for (;;) {
    model.boot += 1;
    const fall = model.tries === 0 && model.fallback !== null;
    if (model.tries > 0) model.tries -= 1;
    model.booted = fall ? model.fallback : model.next;
    if (model.booted === null || !panics.has(model.booted) || (model.tries < 0 && model.fallback === null)) break;
  }
  model.on = true;
}

test('cut anywhere, with releases that panic or are sick: something is always there to boot, and the end is right', () => {
  const step = fc.record({ cut: fc.constantFrom('none', 'none', 'none', 'kill', 'power'), half: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 10, maxLength: 120 }),
      fc.uniqueArray(fc.constantFrom(B, C)),
      fc.uniqueArray(fc.constantFrom(B, C)),
      fc.array(fc.constantFrom(A, B, C), { minLength: 1, maxLength: 6 }),
      (steps, panicking, sick, offers) => {
        const panics = new Set(panicking);
        const model: Model = {
          on: false,
          boot: 0,
          booted: A,
          next: A,
          fallback: null,
          tries: -1,
          deployed: new Set([A]),
        };
        let machine = START;
        let offer = 0;
        const view = (): Event => ({
          kind: 'started',
          board: {
            bootId: `${model.boot}`,
            booted: model.booted,
            next: model.next,
            deployed: [...model.deployed],
            exhausted: model.tries === 0,
            counting: model.tries > 0,
          },
        });
        const apply = (event: Event) => {
          machine = transition(machine, event, 1);
        };
        const start = () => {
          powerOn(model, panics);
          apply(view());
        };
        const settle = () => {
          if (machine.state.kind === 'good') model.tries = -1;
          if (machine.state.kind === 'good' || machine.state.kind === 'rolled-back') {
            if (machine.state.kind === 'rolled-back') {
              model.next = model.booted;
              model.fallback = null;
              model.tries = -1;
            }
            for (const commit of model.deployed)
              if (commit !== model.booted && commit !== model.fallback) model.deployed.delete(commit);
          }
        };
        const act = (half: boolean) => {
          const { state } = machine;
          if (isResting(state) || state.kind === 'blocked') {
            settle();
            if (!half) apply({ kind: 'due' });
          } else if (state.kind === 'checking') {
            apply({ kind: 'offered', release: offers[offer++ % offers.length] ?? A, booted: model.booted });
          } else if (state.kind === 'downloading') {
            model.deployed.add(state.release);
            if (!half) apply({ kind: 'deployed' });
          } else if (state.kind === 'staged') {
            apply({ kind: 'reboot', bootId: `${model.boot}`, booted: model.booted });
          } else if (state.kind === 'rebooting') {
            assert.ok(model.deployed.has(state.to), 'the boot order names a complete deployment');
            model.next = state.to;
            model.fallback = state.undo === null ? state.from : null;
            model.tries = state.undo === null ? TRIES : -1;
            if (!half) {
              model.on = false;
              start();
            }
          } else if (state.kind === 'verifying') {
            if (sick.includes(state.release)) apply({ kind: 'unhealthy', why: 'sick', bootId: `${model.boot}` });
            else apply({ kind: 'healthy' });
          }
        };
        start();
        for (const { cut, half } of steps) {
          act(cut !== 'none' && half);
          if (cut === 'power') model.on = false;
          if (cut !== 'none') start();
          assert.ok(model.next !== null && model.deployed.has(model.next), 'the default can be booted');
          if (model.fallback !== null) assert.ok(model.deployed.has(model.fallback), 'the fallback can be booted');
        }
        for (let i = 0; i < 40; i++) act(false);
        assert.ok(
          model.booted !== null && !panics.has(model.booted) && !sick.includes(model.booted),
          'ends on a good release',
        );
      },
    ),
    { numRuns: 1000 },
  );
});
