import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createDeviceClock } from '../clock/device-clock.ts';
import { createPolicy } from './policy.ts';
import { readSettings } from './settings.ts';
import { isOpen, parseWindow } from './windows.ts';

const RELEASE = 'a'.repeat(64);

async function board(t: TestContext, now = Date.parse('2026-03-04T12:00:00Z')) {
  const dir = await mkdtemp(join(tmpdir(), 'treeline-policy-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const state = { now, pinned: null as string | null, warnings: [] as string[] };
  const places = { folder: join(dir, 'etc'), locks: join(dir, 'locks'), memory: join(dir, 'agent') };
  await mkdir(places.folder, { recursive: true });
  const clock = createDeviceClock({ earliest: 0, latest: Number.MAX_SAFE_INTEGER, now: () => state.now });
  const make = () =>
    createPolicy({ places, clock, pinned: () => state.pinned, onWarning: (text) => state.warnings.push(text) });
  const write = (text: string) => writeFile(join(places.folder, 'agent.yaml'), text);
  const hook = async (step: string, name: string, text: string) => {
    const folder = join(places.folder, 'hooks', `${step}.d`);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  };
  return { ...places, state, policy: make(), make, write, hook };
}

test('windows open and close by the clocks of their time zone, also past midnight and into the next day', () => {
  const open = (text: string, at: string, timeZone = 'UTC') =>
    isOpen([parseWindow(text)!], { at: Date.parse(at), timeZone });
  // 2026-03-04 is a Wednesday.
  assert.equal(open('02:00-04:00', '2026-03-04T02:00:00Z'), true);
  assert.equal(open('02:00-04:00', '2026-03-04T04:00:00Z'), false);
  assert.equal(open('Wed 22:00-05:00', '2026-03-04T23:59:00Z'), true);
  assert.equal(open('Wed 22:00-05:00', '2026-03-05T04:59:00Z'), true);
  assert.equal(open('Wed 22:00-05:00', '2026-03-04T04:59:00Z'), false);
  assert.equal(open('Sat-Mon 00:00-24:00', '2026-03-02T23:59:00Z'), true);
  assert.equal(open('Sat,Sun 00:00-24:00', '2026-03-02T00:00:00Z'), false);
  assert.equal(open('Wed 13:00-14:00', '2026-03-04T12:30:00Z', 'Europe/Berlin'), true);
  // Daylight saving time began on the Sunday before 2026-04-01.
  assert.equal(open('Wed 13:00-14:00', '2026-04-01T12:30:00Z', 'Europe/Berlin'), false);
  assert.equal(isOpen([], { at: 0, timeZone: null }), true);
  for (const text of [
    '',
    'Wed',
    '25:00-26:00',
    '10:00-10:00',
    'Foo 01:00-02:00',
    '01:60-02:00',
    'Mon-Tue-Wed 1:00-2:00',
  ]) {
    assert.equal(parseWindow(text), null, text);
  }
});

test('without a file everything is allowed at once; what a file says counts from the next question on', async (t) => {
  const { policy, write } = await board(t);
  assert.equal(await policy.mayDownload(RELEASE), null);
  assert.equal(await policy.mayReboot(RELEASE), null);
  await write('windows: ["02:00-04:00"]\ntimezone: UTC\ndownload: {when: window, limit: 500kB}\npoll: 5m\n');
  assert.equal(await policy.mayDownload(RELEASE), 'maintenance window: 02:00-04:00 (UTC)');
  assert.equal(await policy.mayReboot(RELEASE), 'maintenance window: 02:00-04:00 (UTC)');
  const { reboot, download, poll } = await policy.settings();
  assert.deepEqual([reboot, download.limit, poll], ['window', 500_000, 300_000]);
  await write('windows: ["02:00-04:00"]\ntimezone: UTC\nreboot: immediate\n');
  assert.equal(await policy.mayDownload(RELEASE), null);
  assert.equal(await policy.mayReboot(RELEASE), null);
});

test('a slip in the file is told, and what the key said before counts, also after a restart', async (t) => {
  const { policy, write, state, make } = await board(t);
  await write('windows: ["02:00-04:00"]\ntimezone: UTC\nhealth: {timeout: 2m}\n');
  await policy.settings();
  await write('windows: ["2-4"]\ntimezone: UTC\nhealth: {timeout: 3m}\nwindow: x\n');
  for (const asked of [policy, make()]) {
    const settings = await asked.settings();
    assert.deepEqual(
      [settings.windows.map((window) => window.text), settings.health.timeout],
      [['02:00-04:00'], 180_000],
    );
    assert.equal(await asked.mayReboot(RELEASE), 'maintenance window: 02:00-04:00 (UTC)');
    assert.match(asked.problems.join('\n'), /windows\.0: "2-4" is no window: expected for example/);
    assert.match(asked.problems.join('\n'), /window: there is no such key; known are poll, windows/);
  }
  assert.ok(state.warnings.length >= 4);
  await write('windows: [\n');
  assert.equal(await policy.mayReboot(RELEASE), 'maintenance window: 02:00-04:00 (UTC)');
  assert.equal(policy.problems.length, 1);
  await write('poll: 10s\n');
  assert.equal(await policy.mayReboot(RELEASE), null);
  assert.deepEqual(policy.problems, []);
});

test('a board that never had good settings has the defaults', () => {
  const { settings, problems } = readSettings({ windows: 'never', poll: '1 week', download: { limit: '1kB' } });
  assert.deepEqual(
    [settings.windows, settings.poll, settings.reboot, settings.download.limit],
    [[], 60_000, 'immediate', null],
  );
  assert.equal(problems.length, 3, problems.join('\n'));
  assert.deepEqual(readSettings(['x']).problems, ['expected keys and values']);
});

test('hooks, locks and a person say why not', async (t) => {
  const { policy, hook, locks, state } = await board(t);
  await hook('pre-update', '10-fine', 'exit 0');
  await hook('pre-update', '20-battery', 'echo looking; echo "battery at 12 %"; exit 75');
  await hook('pre-update', '30-never', 'exit 1');
  assert.equal(await policy.mayDownload(RELEASE), 'battery at 12 %');
  assert.equal(await policy.mayReboot(RELEASE), null);
  await hook('pre-update', '20-battery', `test "$TREELINE_RELEASE" = ${RELEASE}`);
  assert.equal(await policy.mayDownload(RELEASE), 'hook 30-never failed with exit code 1');
  await hook('pre-reboot', '10-drives', 'exit 75');
  assert.equal(await policy.mayReboot(RELEASE), 'hook 10-drives says: not now');

  await mkdir(locks);
  await writeFile(join(locks, 'driving'), 'mission 17 until noon\n');
  assert.equal(await policy.mayReboot(RELEASE), 'locked by driving: mission 17 until noon');
  state.pinned = 'demo on Friday';
  assert.equal(await policy.mayReboot(RELEASE), 'pinned: demo on Friday');
});

test('a hook that hangs is ended, and holds the update back', async (t) => {
  const { policy, hook, write } = await board(t);
  await write('hooks: {timeout: 1s}\n');
  await hook('pre-reboot', '10-hangs', 'sleep 100');
  const began = Date.now();
  assert.equal(await policy.mayReboot(RELEASE), 'hook 10-hangs did not answer in 1 s');
  assert.ok(Date.now() - began < 60_000);
});
