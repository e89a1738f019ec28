import type { ChildProcess } from 'node:child_process';
import { createServer } from 'node:net';
import { BoardError } from '../../errors.ts';
import type { Board, BoardOptions, Fault } from '../board.ts';
import { ended } from '../child.ts';
import { createConsole } from '../console.ts';
import type { CommandDrive } from '../schema.ts';
import { watchSilence } from '../silence.ts';
import { endScript, fillIn, type Placeholders, runScript, startScript } from './script.ts';

/**
 * A board that is switched, written and watched by commands of its board file. One process of this machine has it at a
 * time.
 *
 * @throws BoardError `board-trouble` when another has it or its console cannot be opened, `invalid`
 */
export async function openCommandBoard(o: { name: string; drive: CommandDrive; log: string | null }): Promise<Board> {
  const { drive, name } = o;
  const known: Placeholders = {
    name,
    ...(drive.host === undefined ? {} : { host: drive.host }),
    ...(drive.address === undefined ? {} : { address: drive.address }),
  };
  const unlock = await lockBoard(name);
  const console = createConsole({ log: o.log });
  const trouble = Promise.withResolvers<never>();
  trouble.promise.catch(() => {});
  let closing = false;
  let isOn = false;
  let boots = 0;
  let silence: { stop: () => void } | null = null;
  const line = startScript(fillIn(drive.console, known), 'pipe');
  listenTo(line);

  function listenTo(child: ChildProcess): void {
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => console.print(chunk));
    child.stderr?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-2000);
    });
    child.stdin?.on('error', () => {});
    console.connect((chunk) => child.stdin?.write(chunk));
    void ended(child).then(() => {
      if (closing) return;
      const message = `the console of ${name} ended (exit status ${child.exitCode ?? child.signalCode})`;
      trouble.reject(new BoardError('board-trouble', message, { hint: said.trim() || `It was: ${drive.console}` }));
    });
  }

  const does = async (key: keyof CommandDrive & string, more: Placeholders, { signal }: BoardOptions) => {
    const command = drive[key];
    if (typeof command !== 'string') {
      throw new BoardError('not-possible', `${name} cannot do that: its board file has no ${key}`, {
        hint: `Give its drive a command ${key}.`,
      });
    }
    console.note(key);
    const limitMs = key === 'flash' || key.endsWith('-disk') ? drive['flash-limit'] : drive['switch-limit'];
    await runScript(fillIn(command, { ...known, ...more }), { what: key, limitMs, signal });
  };
  const off = async (options: BoardOptions): Promise<void> => {
    silence?.stop();
    await does('power-off', {}, options);
    isOn = false;
  };
  const faults: Fault[] = ['power-cut'];
  if (drive['network-off'] !== undefined && drive['network-on'] !== undefined) faults.push('network-loss');
  if (drive['fill-disk'] !== undefined && drive['free-disk'] !== undefined) faults.push('full-disk');

  return {
    name,
    console,
    faults: new Set(faults),
    host: drive.host ?? null,
    address: drive.address ?? null,
    get isOn() {
      return isOn;
    },
    get boots() {
      return boots;
    },
    trouble: trouble.promise,
    flash: (image, options = {}) => does('flash', { image }, options),
    powerOn: async (options = {}) => {
      if (isOn) return;
      silence?.stop();
      silence = watchSilence(console, {
        ms: drive.silence,
        what: `${name} printed nothing`,
        onSilence: (error) => trouble.reject(error),
      });
      await does('power-on', {}, options);
      isOn = true;
      boots++;
    },
    // A relay knows no shutdown; a system that must not lose its power has a command for that in `power-off`.
    powerOff: (options = {}) => off(options),
    cutPower: (options = {}) => off(options),
    network: (state, options = {}) => does(state === 'on' ? 'network-on' : 'network-off', {}, options),
    fillDisk: (leaveBytes, options = {}) =>
      leaveBytes === null ? does('free-disk', {}, options) : does('fill-disk', { bytes: String(leaveBytes) }, options),
    close: async () => {
      closing = true;
      // The board may be what failed; it is let go all the same.
      if (isOn) await off({}).catch((error: unknown) => console.note(String(error)));
      silence?.stop();
      await endScript(line);
      await console.close();
      unlock();
    },
  };
}

/** A lock that ends with the process however it ends: a socket in Linux's abstract namespace. */
async function lockBoard(name: string): Promise<() => void> {
  const server = createServer((socket) => socket.destroy());
  const taken = await new Promise<boolean>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen(`\0treeline-board-${name}`, () => resolve(true));
  });
  if (!taken) {
    throw new BoardError('board-trouble', `the board ${name} is in use by another process of this machine`);
  }
  server.unref();
  return () => server.close();
}
