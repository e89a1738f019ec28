import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { BoardError } from '../../errors.ts';
import { CommandDrive } from '../schema.ts';
import { openCommandBoard } from './command-board.ts';

/** A board on a desk, as far as commands can tell: files for its relay and its flash, a fifo for its serial line. */
async function desk(keys: Record<string, string> = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'treeline-desk-'));
  const file = (name: string) => join(dir, name);
  execFileSync('mkfifo', [file('line')]);
  const drive = CommandDrive.parse({
    kind: 'command',
    'power-on': `echo on >> ${file('relay')}; echo "kernel of $(cat ${file('flash')})" > ${file('line')}`,
    'power-off': `echo off >> ${file('relay')}`,
    flash: `cp {image} ${file('flash')}`,
    console: `exec cat 0<>${file('line')}`,
    host: '192.168.1.5',
    address: '192.168.1.77',
    ...keys,
  });
  return { dir, file, drive, remove: () => rm(dir, { recursive: true, force: true }) };
}

const hasCode = (code: string) => (error: BoardError) => error.code === code;

describe('a board that commands switch', { timeout: 300_000 }, () => {
  test('is flashed, switched and watched by them', async () => {
    const { dir, file, drive, remove } = await desk({ 'network-off': 'true', 'network-on': 'true' });
    const board = await openCommandBoard({ name: "ana's rig", drive, log: join(dir, 'log') });
    try {
      assert.equal(board.host, '192.168.1.5');
      assert.equal(board.address, '192.168.1.77');
      assert.deepEqual([...board.faults].sort(), ['network-loss', 'power-cut']);
      await writeFile(join(dir, "it's an image.img"), 'release A');
      await board.flash(join(dir, "it's an image.img"));
      await board.powerOn();
      await board.console.waitFor('kernel of release A', { since: 0, timeoutMs: 10_000 });
      await board.powerOn();
      await board.network('off');
      await assert.rejects(board.fillDisk(0), hasCode('not-possible'));
      await board.cutPower();
      assert.equal(board.isOn, false);
      assert.equal(await readFile(file('relay'), 'utf8'), 'on\noff\n');
      await assert.rejects(
        openCommandBoard({ name: "ana's rig", drive, log: null }),
        /in use by another process/,
        'one at a time',
      );
    } finally {
      await board.close();
      await remove();
    }
  });

  test('has trouble, with what was said, when a command fails, hangs or its console ends', async () => {
    const failing = await desk({ 'power-on': 'echo no relay on /dev/ttyUSB7 >&2; exit 3' });
    const board = await openCommandBoard({ name: 'failing', drive: failing.drive, log: null });
    await assert.rejects(board.powerOn(), (error: BoardError) => {
      assert.equal(error.code, 'board-trouble');
      assert.match(error.message, /power-on ended with exit status 3/);
      assert.match(error.hint ?? '', /no relay on/);
      return true;
    });
    await board.close();
    await failing.remove();

    const hanging = await desk({ 'power-on': 'sleep 600', 'switch-limit': '1s', silence: '1s' });
    const slow = await openCommandBoard({ name: 'hanging', drive: hanging.drive, log: null });
    await assert.rejects(slow.powerOn(), /took longer than 1 s/);
    const stop = new AbortController();
    const stopped = slow.powerOn({ signal: stop.signal });
    stop.abort(new BoardError('invalid', 'enough'));
    await assert.rejects(stopped, /enough/);
    await slow.close();
    await hanging.remove();

    const deaf = await desk({ console: 'echo no such tty >&2; exit 1' });
    const cut = await openCommandBoard({ name: 'deaf', drive: deaf.drive, log: null });
    await assert.rejects(cut.trouble, /the console of deaf ended \(exit status 1\)/);
    await cut.close();
    await deaf.remove();
  });

  test('says nothing when it is switched on: trouble', async () => {
    const mute = await desk({ 'power-on': 'true', silence: '1s' });
    const board = await openCommandBoard({ name: 'mute', drive: mute.drive, log: null });
    await board.powerOn();
    await assert.rejects(board.trouble, hasCode('board-trouble'));
    await board.close();
    await mute.remove();
  });

  test('refuses a placeholder that there is not', async () => {
    const { drive, remove } = await desk({ flash: 'cp {picture} /dev/null' });
    const board = await openCommandBoard({ name: 'placeholders', drive, log: null });
    await assert.rejects(board.flash('x'), /\{picture\} stands for nothing/);
    await board.close();
    await remove();
  });
});
