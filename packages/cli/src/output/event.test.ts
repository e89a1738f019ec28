import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatEvent } from './event.ts';
import { cellWidth } from './text.ts';

const at = '2026-11-01T12:00:00.000Z';

function lineOf(type: string, data: object): string | null {
  return formatEvent({ id: '1', type, data: { id: 1, type, at, data } }, { now: 0, width: 80 })?.slice(10) ?? null;
}

test('events read as lines of a diary', () => {
  const padded = (subject: string) => subject.padEnd(25);
  assert.equal(
    lineOf('run.created', { run: 'run-4', number: 4, reason: 'push to app' }),
    `${padded('run 4')}started  push to app`,
  );
  assert.equal(
    lineOf('job.queued', { run: 'run-4', job: 'app/test', why: ['the source changed'] }),
    `${padded('app/test')}queued  run 4: the source changed`,
  );
  assert.equal(lineOf('job.queued', { run: 'run-4', job: 'app/test', why: [] }), null);
  assert.equal(lineOf('job.reused', { run: 'run-4', job: 'model/train' }), `${padded('model/train')}reused  run 4`);
  assert.equal(
    lineOf('job.finished', { run: 'run-4', job: 'app/test', state: 'failed', failure: { message: 'exit code 3' } }),
    `${padded('app/test')}failed  run 4: exit code 3`,
  );
  assert.equal(
    lineOf('release.published', {
      repository: 'public',
      channel: 'robot/edge',
      commit: 'b'.repeat(64),
      run: 'run-4',
      message: null,
    }),
    `${padded('public:robot/edge')}published  bbbbbbbbbb, run 4`,
  );
  assert.equal(
    lineOf('device.state', {
      device: 'board-1',
      state: 'rolled-back',
      release: 'a'.repeat(64),
      from: 'b'.repeat(64),
      reason: 'bad',
    }),
    `${padded('board-1')}rolled-back  aaaaaaaaaa, from bbbbbbbbbb, bad`,
  );
  assert.equal(lineOf('device.dreamt', { device: 'board-1', of: 'sheep' }), `${padded('board-1')}dreamt  sheep`);
});

test('no event of any form breaks a line, the width or the program', () => {
  const types = fc.oneof(
    fc.string(),
    fc.constantFrom('run.created', 'run.finished', 'job.queued', 'job.finished', 'device.state'),
  );
  fc.assert(
    fc.property(
      types,
      fc.anything(),
      fc.dictionary(fc.constantFrom('run', 'job', 'why', 'state', 'failure', 'device'), fc.anything()),
      (type, envelope, data) => {
        for (const value of [envelope, data, { at, data }]) {
          const line = formatEvent({ id: '1', type, data: value }, { now: 0, width: 80 });
          assert.ok(line === null || !/\p{Cc}/u.test(line), line ?? '');
        }
      },
    ),
  );
  const long = formatEvent(
    { id: '1', type: 'run.created', data: { run: 'run-1', reason: 'x'.repeat(500) } },
    { now: 0, width: 80 },
  );
  assert.equal(cellWidth(long!), 80);
});
