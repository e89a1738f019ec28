import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BoardError } from '../../errors.ts';
import { makeShellImage } from '../../testing/shell-image.ts';
import { attachConsole, listConsoles, serveConsole } from '../console-socket.ts';
import { QemuDrive } from '../schema.ts';
import { netdevOf } from './network.ts';
import { openQemuBoard } from './qemu-board.ts';

/** Firmware alone takes a third of this on a machine that does nothing else. */
const BOOT_MS = 120_000;

const drive = QemuDrive.parse({ kind: 'qemu', arch: 'x86_64', memory: '256M', cpus: 1 });

describe('a board that QEMU plays', { timeout: 300_000 }, () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-qemu-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const scratch = () => mkdtemp(join(folder, 'board-'));
  const open = async (name: string) => {
    const dir = await scratch();
    return { dir, board: await openQemuBoard({ name, drive, folder: dir, log: join(dir, 'console.log') }) };
  };

  test('a reset boots it anew with what it wrote, a cut ends it at once, and the disk keeps both boots', async () => {
    const image = await makeShellImage(await scratch(), [
      'if exist fs0:\\second then',
      'echo THIRD WORD: again',
      'else',
      'echo FIRST WORD: new',
      'echo x > fs0:\\second',
      'reset',
      'endif',
    ]);
    const { dir, board } = await open('resets');
    try {
      await board.flash(image);
      await board.powerOn();
      await board.console.waitFor('FIRST WORD: new', { since: 0, timeoutMs: BOOT_MS });
      await board.console.waitFor(/THIRD WORD: again[\s\S]*Shell>/, { since: 0, timeoutMs: BOOT_MS });
      assert.equal(board.boots, 2);
      assert.equal(board.isOn, true);
      const folder = join(dir, 'consoles');
      const stop = await serveConsole(board.console, { name: 'resets', folder });
      assert.deepEqual(await listConsoles(folder), ['resets']);
      const line = await attachConsole('resets', folder);
      let seen = '';
      line.on('data', (chunk) => {
        seen += chunk.toString('utf8');
      });
      const mark = board.console.mark();
      // The shell takes a first key for the end of its countdown.
      line.write('\r');
      await sleep(500);
      line.write('set -v typed here\r');
      line.write('set typed\r');
      await board.console.waitFor(/typed = here/, { since: mark, timeoutMs: 30_000 });
      assert.match(seen, /THIRD WORD/, 'who attaches sees what was there before');
      line.destroy();
      await stop();
      await assert.rejects(attachConsole('resets', folder), (error: BoardError) => error.code === 'not-found');
      await board.cutPower();
      assert.equal(board.isOn, false);
      const log = await readFile(join(dir, 'console.log'), 'utf8');
      assert.match(log, /FIRST WORD[\s\S]*THIRD WORD[\s\S]*power cut/);
    } finally {
      await board.close();
    }
    assert.deepEqual((await readdir(dir)).sort(), ['console.log', 'consoles']);
  });

  test('a guest that shuts down leaves the board off, and its network can be taken away', async () => {
    const image = await makeShellImage(await scratch(), ['echo SHELL IS UP']);
    const { board } = await open('shuts-down');
    try {
      await board.flash(image);
      await board.powerOn();
      await board.console.waitFor('SHELL IS UP', { since: 0, timeoutMs: BOOT_MS });
      await board.console.waitFor('Shell>', { since: 0, timeoutMs: 30_000 });
      await board.network('off');
      await board.network('on');
      const mark = board.console.mark();
      board.console.write('\rreset -s\r');
      const deadline = Date.now() + 60_000;
      while (board.isOn && Date.now() < deadline) await sleep(50);
      assert.equal(board.isOn, false, board.console.text(mark));
      assert.equal(board.boots, 1);
    } finally {
      await board.close();
    }
  });

  test('what does not boot at all is trouble with the board, and so is QEMU that does not start', async () => {
    const dir = await scratch();
    const silent = QemuDrive.parse({ ...drive, kind: 'qemu', memory: '256M', silence: '1s' });
    const board = await openQemuBoard({ name: 'silent', drive: silent, folder: dir, log: null });
    try {
      await writeFile(join(dir, 'empty.img'), Buffer.alloc(1024 ** 2));
      await board.flash(join(dir, 'empty.img'));
      // Firmware whose code is gone prints nothing.
      await board.powerOn();
      await assert.rejects(board.trouble, (error: BoardError) => {
        assert.equal(error.code, 'board-trouble');
        assert.match(error.message, /printed nothing within 1 s/);
        return true;
      });
    } finally {
      await board.close();
    }
    const other = await openQemuBoard({ name: 'no-disk', drive, folder: await scratch(), log: null });
    try {
      await assert.rejects(other.powerOn(), (error: BoardError) => {
        assert.equal(error.code, 'board-trouble');
        assert.match(error.message, /QEMU did not start: .*firmware-variables\.fd/s);
        return true;
      });
    } finally {
      await other.close();
    }
  });

  test('it dies with the process that has it', async () => {
    const dir = await scratch();
    const image = await makeShellImage(dir, ['echo up']);
    const program = join(import.meta.dirname, '../../testing/board-process.ts');
    const child = spawn(process.execPath, [program, join(dir, 'board'), image], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const said = once(child.stdout, 'data').then(String);
    assert.match(await Promise.race([said, once(child, 'exit').then(() => 'it ended')]), /^on/);
    const pids = async () => {
      const found: string[] = [];
      for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
        const cwd = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
        const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
        if (words.includes('qemu-system') && cwd.includes(dir)) found.push(pid);
      }
      return found;
    };
    assert.equal((await pids()).length, 1);
    child.kill('SIGKILL');
    const deadline = Date.now() + 60_000;
    while ((await pids()).length > 0 && Date.now() < deadline) await sleep(50);
    assert.deepEqual(await pids(), []);
  });

  test('the relay of a forwarded connection carries bytes both ways and ends with either side', async () => {
    const server = createServer((socket) => {
      socket.on('data', (chunk) => socket.end(`heard ${String(chunk)}`));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const relay = spawn(process.execPath, [join(import.meta.dirname, 'relay.ts'), '127.0.0.1', String(port)]);
    relay.stdin.write('a word');
    let heard = '';
    for await (const chunk of relay.stdout) heard += String(chunk);
    assert.equal(heard, 'heard a word');
    server.close();
    assert.match(netdevOf({ host: '127.0.0.1', port: 8421 }), /restrict=on,guestfwd=tcp:10\.0\.2\.4:8421-cmd:/);
    assert.throws(() => netdevOf({ host: "x'; reboot", port: 1 }), BoardError);
  });
});
