import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Board, Fault } from '../drive/board.ts';
import { createConsole } from '../drive/console.ts';
import { BoardError } from '../errors.ts';
import { legTable, verdictText } from './report.ts';
import { runTrial } from './run-trial.ts';
import { type DeviceView, FULL_DISK_LEAVES, LEG_LIMIT_MS } from './trial.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);

/** A board, an agent and a server in one, with a clock of their own: each look is two seconds later. */
function lab(o: { bad?: string; never?: string; faults?: Fault[]; dies?: 'trouble' | 'off' } = {}) {
  const done: string[] = [];
  const trouble = Promise.withResolvers<never>();
  trouble.promise.catch(() => {});
  const state = { now: 1000, on: false, boots: 0, network: true, full: false, target: '', current: '', since: 0 };
  const device: NonNullable<DeviceView['device']> & { bad: { commit: string; reason: string }[] } = {
    ...{ state: 'idle', release: null, reason: null, current: null, lastSeen: null, bad: [] },
  };
  const events: DeviceView['events'][number][] = [];
  const steps = ['downloading', 'staged', 'rebooting', 'verifying', 'good'];
  const tell = (type: string, success: boolean | null = null, details: string | null = null) =>
    events.push({ number: events.length + 1, type, release: state.target, success, details, at: state.now });

  /** What the agent does between two looks. */
  const tick = (): void => {
    state.now += 2000;
    if (!state.on || !state.network || state.target === '' || state.target === state.current) return;
    if (device.bad.some(({ commit }) => commit === state.target) || state.target === o.never) return;
    device.lastSeen = state.now;
    if (state.full) {
      device.state = 'blocked';
      device.release = state.target;
      device.reason = 'no space left on the board';
      return;
    }
    const at = device.release === state.target ? steps.indexOf(device.state) : -1;
    device.release = state.target;
    device.state = steps[at + 1]!;
    if (device.state === 'downloading') tell('EcuDownloadStarted');
    if (device.state === 'staged') tell('EcuDownloadCompleted', true, '7 objects, 4242 bytes');
    if (device.state === 'rebooting') {
      tell('EcuInstallationStarted');
      state.boots += 1;
    }
    if (device.state === 'verifying') tell('EcuInstallationApplied');
    if (device.state !== 'good') return;
    if (state.target === o.bad) {
      device.state = 'rolled-back';
      device.bad.push({ commit: state.target, reason: 'check 10-drive failed' });
      tell('EcuInstallationCompleted', false);
      return;
    }
    state.current = state.target;
    device.current = state.target;
    tell('EcuInstallationCompleted', true);
  };

  const board: Board = {
    name: 'played',
    console: createConsole({ log: null }),
    faults: new Set<Fault>(o.faults ?? ['power-cut', 'full-disk', 'network-loss']),
    ...{ host: null, address: null },
    get isOn() {
      return state.on;
    },
    get boots() {
      return state.boots;
    },
    trouble: trouble.promise,
    async flash(image) {
      state.current = image;
    },
    async powerOn() {
      state.on = o.dies !== 'off';
      state.boots += 1;
      device.current = state.current;
      if (o.dies === 'trouble') trouble.reject(new BoardError('board-trouble', 'no relay'));
    },
    async powerOff() {
      state.on = false;
    },
    async cutPower() {
      state.on = false;
    },
    async network(to) {
      state.network = to === 'on';
    },
    async fillDisk(leave) {
      state.full = leave !== null;
    },
    close: async () => {},
  };
  const run = (production: string | null, faults: Fault[] = []) =>
    runTrial(
      { candidate: B, production, faults },
      {
        ...{ board, pollMs: 0, signal: new AbortController().signal },
        note: (line) => done.push(line),
        makeImage: async (commit) => commit,
        look: async (target) => {
          if (target !== undefined) state.target = target;
          tick();
          return {
            now: state.now,
            device: state.on || device.lastSeen ? device : null,
            events,
            sent: { requests: 3, bytes: 9 },
          };
        },
      },
    );
  return { run, done };
}

describe('a trial on a board', () => {
  test('goes forward, back and forward again, and says what each leg took', async () => {
    const { run, done } = lab();
    const report = await run(A);
    assert.deepEqual(report.verdict, { kind: 'good' });
    assert.deepEqual(
      report.legs.map(({ name, target }) => [name, target]),
      [
        ['install', A],
        ['forward', B],
        ['back', A],
        ['again', B],
      ],
    );
    const forward = report.legs[1]!;
    assert.equal(forward.bytes, 4242);
    assert.equal(forward.boots, 1);
    for (const step of ['pull', 'stage', 'reboot', 'verify'] as const) assert.equal(forward[step], 2, step);
    assert.ok(done.includes(`flash ${A}`) && !done.includes(`flash ${B}`));
    assert.match(legTable(report.legs), /^leg +commit .*\ninstall .*\nforward +b{12} /);
  });

  test('of a system that has no release before it installs it and looks whether it is up', async () => {
    const { run } = lab();
    const report = await run(null);
    assert.deepEqual(report.verdict, { kind: 'good' });
    assert.deepEqual(
      report.legs.map(({ name, target }) => [name, target]),
      [['install', B]],
    );
  });

  test('of a candidate that comes back is bad, with the reason', async () => {
    const { run } = lab({ bad: B });
    const { verdict } = await run(A);
    assert.deepEqual(verdict, { kind: 'bad', leg: 'forward', why: 'it did not prove good: check 10-drive failed' });
    assert.match(verdictText(verdict), /^bad \(forward\): it did not prove good/);
  });

  test('of a candidate that never comes up is bad; a release that does not is trouble', async () => {
    const hangs = await lab({ never: B }).run(A);
    assert.equal(hangs.verdict.kind, 'bad');
    assert.match(verdictText(hangs.verdict), new RegExp(`not good within ${LEG_LIMIT_MS / 60_000} minutes`));
    const cut = await lab({ never: B }).run(A, ['power-cut']);
    assert.match(
      verdictText(cut.verdict),
      new RegExp(`not good within ${(2 * LEG_LIMIT_MS) / 60_000} minutes`),
      'a board whose power is cut boots once more',
    );
    const off = await lab({ dies: 'off' }).run(A);
    assert.deepEqual(off.verdict, { kind: 'trouble', leg: 'install', why: 'the system switched the board off' });
    const alone = await lab({ dies: 'off' }).run(null);
    assert.equal(alone.verdict.kind, 'bad', 'there is only the candidate to blame');
  });

  test('lets the board suffer on the way, and counts only what it suffered', async () => {
    const { run, done } = lab();
    const report = await run(A, ['full-disk', 'network-loss', 'power-cut']);
    assert.deepEqual(report.verdict, { kind: 'good' });
    assert.deepEqual(
      report.legs.map(({ name }) => name),
      ['install', 'full-disk', 'forward', 'back', 'again'],
    );
    assert.deepEqual(
      report.legs.map(({ boots }) => boots),
      [1, 1, 3, 1, 1],
      'switching it on counts: after filling its disk, after freeing it, and after the cut',
    );
    const forward = report.legs[2]!;
    assert.deepEqual(forward.faults.map((text) => text.replace(/ while .*/, '')).sort(), ['network-loss', 'power-cut']);
    const order = ['fill', 'free', 'network-off', 'network-on', 'cut'].map((word) => done.indexOf(word));
    assert.deepEqual(
      order,
      [...order].sort((a, b) => a - b),
      `in order: ${done.join(', ')}`,
    );
    assert.ok(order.every((at) => at >= 0));
  });

  test('on a board that cannot suffer what is asked, or has trouble, is no verdict', async () => {
    await assert.rejects(lab({ faults: ['power-cut'] }).run(A, ['full-disk']), (error: BoardError) => {
      assert.equal(error.code, 'not-possible');
      assert.match(error.hint ?? '', /It can: power-cut/);
      return true;
    });
    await assert.rejects(lab({ dies: 'trouble' }).run(A), (error: BoardError) => error.code === 'board-trouble');
  });

  test('leaves a full disk more than ext4 keeps from everybody, and less than an update needs on the smallest board', () => {
    const reserved = 4096 * 4096;
    assert.ok(FULL_DISK_LEAVES >= reserved + 8 * 1024 ** 2, 'the system can still write its state');
    assert.ok(FULL_DISK_LEAVES < 0.03 * 2 * 1024 ** 3, "libostree's reserve of a disk of 2 GB is not there");
  });
});
