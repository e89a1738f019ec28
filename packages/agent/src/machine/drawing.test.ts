import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { Event, Machine, Resting, State } from './state.ts';
import { transition } from './transition.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);
const why = 'w';

const resting: Resting[] = [
  { kind: 'idle' },
  { kind: 'good', release: A },
  { kind: 'failed', release: B, why },
  { kind: 'rolled-back', from: B, why },
];
const idle = { kind: 'idle' } as const;
/** A state of every kind, and of every kind of content that makes a difference. */
const states: State[] = [
  ...resting,
  ...resting.map((state) => ({ kind: 'checking', resting: state }) as const),
  ...resting.map((state) => ({ kind: 'staged', release: B, resting: state }) as const),
  { kind: 'downloading', release: B, resting: idle },
  { kind: 'blocked', release: B, why, resting: idle },
  { kind: 'rebooting', to: B, from: A, bootId: '1', attempt: 1, undo: null },
  { kind: 'rebooting', to: B, from: A, bootId: '1', attempt: 1000, undo: null },
  { kind: 'rebooting', to: A, from: B, bootId: '1', attempt: 1, undo: { why } },
  { kind: 'rebooting', to: A, from: B, bootId: '1', attempt: 1000, undo: { why } },
  { kind: 'verifying', release: B, from: A, attempt: 1 },
  { kind: 'verifying', release: B, from: null, attempt: 1 },
  { kind: 'verifying', release: B, from: A, attempt: 1000 },
];
const commits = [A, B, null];
const boards: Event[] = commits.flatMap((booted) =>
  commits.flatMap((next) =>
    [[], [A], [B], [A, B]].flatMap((deployed) =>
      ['1', '2'].flatMap((bootId) =>
        [
          { exhausted: false, counting: false },
          { exhausted: false, counting: true },
          { exhausted: true, counting: false },
        ].map((count) => ({ kind: 'started', board: { bootId, booted, next, deployed, ...count } })),
      ),
    ),
  ),
);
const events: Event[] = [
  ...boards,
  { kind: 'due' },
  { kind: 'offered', release: B, booted: A },
  { kind: 'offered', release: null, booted: A },
  { kind: 'offered', release: 'c'.repeat(64), booted: A },
  { kind: 'held', release: B, booted: A, why: 'other' },
  { kind: 'leave', to: A, booted: B, bootId: '1', why },
  { kind: 'judged', bad: [] },
  { kind: 'unreachable' },
  { kind: 'deployed' },
  { kind: 'obstructed', why },
  { kind: 'unusable', why },
  { kind: 'reboot', bootId: '1', booted: A },
  { kind: 'healthy' },
  { kind: 'unhealthy', why, bootId: '1' },
];

test('the drawing in the README has the transitions of the code, and no others', async () => {
  const coded = new Set<string>();
  for (const state of states) {
    for (const event of events) {
      for (const bad of [[], [{ release: B, why, at: 0, told: true }]]) {
        const machine: Machine = { state, bad };
        const next = transition(machine, event).state.kind;
        if (next !== state.kind) coded.add(`${state.kind} --> ${next}`);
      }
    }
  }
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
  const drawn = new Set<string>();
  for (const [, from = '', to = ''] of readme.matchAll(/^ {2}(\w+) --> (\w+)/gm)) {
    drawn.add(`${from.replace('_', '-')} --> ${to.replace('_', '-')}`);
  }
  assert.deepEqual([...drawn].sort(), [...coded].sort());
});
