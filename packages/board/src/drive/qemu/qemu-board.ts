import { execFile } from 'node:child_process';
import { copyFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { BoardError } from '../../errors.ts';
import type { Board, Fault } from '../board.ts';
import { createConsole } from '../console.ts';
import type { QemuDrive } from '../schema.ts';
import { watchSilence } from '../silence.ts';
import { unpackImage } from '../unpack.ts';
import { fillImage } from './filler.ts';
import { DISK, FORWARD_ADDRESS, firmwareOf, HOST_ADDRESS, qemuArguments, qemuProgram, VARIABLES } from './machine.ts';
import { macOf, netdevOf, type QemuNetwork } from './network.ts';
import { type QemuProcess, startQemu } from './process.ts';

const run = promisify(execFile);

const SHUTDOWN_MS = 60_000;

export type QemuBoardOptions = {
  name: string;
  drive: QemuDrive;
  /** Folder of its disk and its firmware's variables; made if it is missing. */
  folder: string;
  /** File that its console is appended to; null: none. */
  log: string | null;
  /** What it reaches. Default `open`. */
  network?: QemuNetwork;
};

/**
 * A board that QEMU plays. While it is on, a reset of the guest starts a new process with the same disk and variables;
 * when the guest shuts down, it is off.
 */
export async function openQemuBoard(o: QemuBoardOptions): Promise<Board> {
  const { drive, folder } = o;
  const firmware = firmwareOf(drive);
  const network = o.network ?? 'open';
  const disk = join(folder, DISK);
  await mkdir(folder, { recursive: true });
  const console = createConsole({ log: o.log });
  const trouble = Promise.withResolvers<never>();
  trouble.promise.catch(() => {});
  let running: QemuProcess | null = null;
  let wanted = false;
  let networkUp = true;
  let boots = 0;
  /** Power is switched by one call at a time. */
  let turn: Promise<void> = Promise.resolve();
  const inTurn = <T>(action: () => Promise<T>): Promise<T> => {
    const result = turn.then(action);
    turn = result.then(
      () => {},
      () => {},
    );
    return result;
  };

  const start = async (): Promise<void> => {
    const argv = qemuArguments(drive, { firmware, mac: macOf(o.name), networkUp, network: netdevOf(network) });
    const qemu = await startQemu(qemuProgram(drive), argv, { folder });
    running = qemu;
    boots++;
    qemu.serial.on('data', (chunk: Buffer) => console.print(chunk));
    console.connect((chunk) => qemu.serial.write(chunk));
    const silence = watchSilence(console, {
      ms: drive.silence,
      what: `${o.name} printed nothing`,
      onSilence: (error) => trouble.reject(error),
    });
    if (!networkUp) await qemu.monitor.execute('set_link', { name: 'nic', up: false });
    void qemu.end.then(async (end) => {
      silence.stop();
      if (running === qemu) {
        running = null;
        console.connect(null);
      }
      // Between the end of one process and the start of the next, a board that resets itself is still on.
      if (end.kind !== 'reset') wanted = false;
      if (end.kind === 'failed') trouble.reject(new BoardError('board-trouble', `${o.name}: ${end.message}`));
      if (end.kind !== 'reset') return;
      // In turn, so that a cut that comes meanwhile is not undone.
      await inTurn(async () => {
        if (wanted && running === null) await start();
      }).catch((error: unknown) => trouble.reject(error));
    });
  };
  const cut = async (): Promise<void> => {
    wanted = false;
    await running?.kill();
    await running?.end;
    running = null;
  };
  const mustBeOff = (what: string): void => {
    if (running === null) return;
    throw new BoardError('invalid', `${o.name} is on: it cannot ${what}`, { hint: 'Switch it off first.' });
  };

  return {
    name: o.name,
    console,
    faults: new Set<Fault>(['power-cut', 'full-disk', 'network-loss']),
    host: network === 'open' ? HOST_ADDRESS : FORWARD_ADDRESS,
    address: null,
    get isOn() {
      return wanted;
    },
    get boots() {
      return boots;
    },
    trouble: trouble.promise,
    flash: (image, { signal } = {}) =>
      inTurn(async () => {
        mustBeOff('be flashed');
        await rm(disk, { force: true });
        await unpackImage(image, disk, signal);
        if (firmware.variables !== null) await copyFile(firmware.variables, join(folder, VARIABLES));
      }),
    powerOn: () =>
      inTurn(async () => {
        wanted = true;
        if (running !== null) return;
        console.note('power on');
        try {
          await start();
        } catch (error) {
          wanted = false;
          throw error;
        }
      }),
    powerOff: ({ signal } = {}) =>
      inTurn(async () => {
        wanted = false;
        const qemu = running;
        if (qemu === null) return;
        console.note('asked to shut down');
        await qemu.monitor.execute('system_powerdown').catch(() => {});
        const timer = new AbortController();
        const late = sleep(SHUTDOWN_MS, 'late' as const, {
          signal: signal ? AbortSignal.any([signal, timer.signal]) : timer.signal,
        }).catch(() => 'late' as const);
        const how = await Promise.race([qemu.end, late]);
        timer.abort();
        if (how === 'late') {
          console.note('it did not shut down: power cut');
          await cut();
        }
        signal?.throwIfAborted();
      }),
    cutPower: () =>
      inTurn(async () => {
        if (running !== null) console.note('power cut');
        await cut();
      }),
    network: (state) =>
      inTurn(async () => {
        networkUp = state === 'on';
        console.note(`network ${state}`);
        await running?.monitor.execute('set_link', { name: 'nic', up: networkUp });
      }),
    fillDisk: (leaveBytes, { signal } = {}) =>
      inTurn(async () => {
        mustBeOff('have its disk filled');
        console.note(leaveBytes === null ? 'disk freed' : `disk filled, ${leaveBytes} bytes left`);
        await fillImage(disk, leaveBytes, signal);
      }),
    close: async () => {
      await inTurn(cut);
      await console.close();
      await rm(disk, { force: true });
      await rm(join(folder, VARIABLES), { force: true });
    },
  };
}

/** Whether a QEMU board can be played on this machine. */
export async function canPlay(drive: QemuDrive): Promise<boolean> {
  try {
    firmwareOf(drive);
    await run(qemuProgram(drive), ['--version']);
    return true;
  } catch {
    return false;
  }
}
