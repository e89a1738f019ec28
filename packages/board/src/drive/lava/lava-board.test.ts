import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BoardError } from '../../errors.ts';
import { type PlayedLava, playLava } from '../../testing/played-lava.ts';
import { LavaDrive } from '../schema.ts';
import { createLavaClient } from './client.ts';
import { openLavaBoard } from './lava-board.ts';
import { targetOutput } from './log.ts';

async function lab(o: { token?: string; queueLimit?: string } = {}) {
  const lava = await playLava();
  const dir = await mkdtemp(join(tmpdir(), 'treeline-lava-'));
  const drive = LavaDrive.parse({
    kind: 'lava',
    server: lava.url,
    job: 'device_type: panda\nactions:\n- deploy:\n    images: {rootfs: {url: "{image}"}}\n',
    upload: `cp {image} ${dir}/uploaded`,
    'image-url': 'http://files.lab/rig.img',
    'queue-limit': o.queueLimit ?? '30s',
  });
  const client = createLavaClient({ server: lava.url, token: o.token ?? lava.token });
  const board = openLavaBoard({ name: 'panda-1', drive, client, log: join(dir, 'log'), pollMs: 20 });
  await writeFile(join(dir, 'system.img'), 'an image');
  const close = async () => {
    await board.close();
    await lava.close();
    await rm(dir, { recursive: true, force: true });
  };
  return { lava, dir, board, close };
}

/** Plays what the lab does next, as soon as there is a job. */
async function jobOf(lava: PlayedLava) {
  for (let looks = 0; lava.jobs.length === 0; looks++) {
    assert.ok(looks < 6000, 'a job for the lab');
    await sleep(5);
  }
  return lava.jobs[0]!;
}

const isTrouble = (pattern: RegExp) => (error: BoardError) =>
  error.code === 'board-trouble' && pattern.test(error.message);

describe('a device of a LAVA lab', { timeout: 300_000 }, () => {
  test('is on while a job has it, and its log is the console', async () => {
    const { lava, dir, board, close } = await lab();
    try {
      await assert.rejects(board.powerOn(), /has no image yet/);
      await board.flash(join(dir, 'system.img'));
      assert.equal(await readFile(join(dir, 'uploaded'), 'utf8'), 'an image');
      const on = board.powerOn();
      const job = await jobOf(lava);
      assert.match(job.definition, /url: "http:\/\/files\.lab\/rig\.img"/);
      job.state = 'Scheduled';
      await sleep(50);
      job.state = 'Running';
      await on;
      job.log += '- {"dt": "2026-01-01T00:00:00", "lvl": "info", "msg": "start: 1 deploy"}\n';
      job.log += '- {"dt": "2026-01-01T00:00:01", "lvl": "target", "msg": "U-Boot 2023.01"}\n- {"dt": "2026';
      await board.console.waitFor('U-Boot 2023.01', { since: 0, timeoutMs: 5000 });
      job.log += '-01-01T00:00:02", "lvl": "target", "msg": "Linux: \\"up\\""}\n';
      await board.console.waitFor('Linux: "up"', { since: 0, timeoutMs: 5000 });
      assert.doesNotMatch(board.console.text(), /start: 1 deploy/);
      await assert.rejects(board.network('off'), (error: BoardError) => error.code === 'not-possible');
      await board.powerOff();
      assert.equal(job.health, 'Canceled');
      assert.equal(board.isOn, false);
    } finally {
      await close();
    }
  });

  test('has trouble when its job ends while it is in use, with what LAVA says of it', async () => {
    const { lava, dir, board, close } = await lab();
    try {
      await board.flash(join(dir, 'system.img'));
      const on = board.powerOn();
      const job = await jobOf(lava);
      job.state = 'Running';
      await on;
      lava.results = { lava: { job: 'fail', 'auto-login-action': 'fail' } };
      job.state = 'Finished';
      job.health = 'Incomplete';
      await assert.rejects(board.trouble, isTrouble(/ended \(Incomplete\).*lava\.job, lava\.auto-login-action/));
    } finally {
      await close();
    }
  });

  test('that is never free, a wrong token and a lab that answers nonsense are trouble with the board', async () => {
    const busy = await lab({ queueLimit: '1s' });
    await busy.board.flash(join(busy.dir, 'system.img'));
    await assert.rejects(busy.board.powerOn(), isTrouble(/no device for job 40 in time/));
    assert.equal(busy.lava.jobs[0]?.health, 'Canceled', 'the job is taken back');
    busy.lava.status = 502;
    await assert.rejects(busy.board.powerOn(), isTrouble(/502/));
    await busy.close();

    const stranger = await lab({ token: 'wrong' });
    await stranger.board.flash(join(stranger.dir, 'system.img'));
    await assert.rejects(stranger.board.powerOn(), isTrouble(/401/));
    await stranger.close();
  });

  test('half a line of its log is left for the next look, and what is no entry is skipped', () => {
    const log = '- {lvl: target, msg: one}\nnonsense: [\n- {lvl: target, msg: t';
    assert.deepEqual(targetOutput(log, 0), { text: 'one\r\n', lines: 2 });
    assert.deepEqual(targetOutput(`${log}wo}\n`, 2), { text: 'two\r\n', lines: 3 });
  });
});
