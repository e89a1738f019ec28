import type { Duplex, Readable } from 'node:stream';
import { BoardError } from '../../errors.ts';
import { ended, spawnBound } from '../child.ts';
import { MONITOR_FD, SERIAL_FD } from './machine.ts';
import { createMonitor, type Monitor } from './qmp.ts';

/** How a machine went off: by itself, by its own reset, taken away by us, or because QEMU failed. */
export type QemuEnd =
  | { kind: 'shutdown' | 'reset' | 'killed' }
  /** With what QEMU said. */
  | { kind: 'failed'; message: string };

export interface QemuProcess {
  readonly serial: Duplex;
  readonly monitor: Monitor;
  readonly end: Promise<QemuEnd>;
  /** Takes the power away at once. */
  kill(): Promise<void>;
}

const STARTS_WITHIN_MS = 30_000;
const KEPT_MESSAGE = 2000;

/**
 * Starts QEMU in the board's folder and waits for its monitor. It dies with this process.
 *
 * @throws BoardError `board-trouble` when it does not start, `tool-missing` when it is not there
 */
export async function startQemu(program: string, argv: readonly string[], o: { folder: string }): Promise<QemuProcess> {
  const child = spawnBound(program, argv, {
    cwd: o.folder,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
  });
  const exited = ended(child);
  let said = '';
  let missing: Error | null = null;
  let killed = false;
  let guest: 'shutdown' | 'reset' | null = null;
  child.once('error', (error) => {
    missing = error;
  });
  const errors = child.stderr as Readable;
  errors.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString('utf8')).slice(-KEPT_MESSAGE);
  });
  const serial = child.stdio[SERIAL_FD] as Duplex;
  serial.on('error', () => {});
  const monitor = createMonitor(child.stdio[MONITOR_FD] as Duplex, ({ event, data }) => {
    if (event === 'SHUTDOWN' && data.guest === true) guest = data.reason === 'guest-reset' ? 'reset' : 'shutdown';
    // A watchdog that bites is a reset that the guest did not ask for.
    if (event === 'WATCHDOG' && data.action === 'reset') guest = 'reset';
  });
  const kill = async (): Promise<void> => {
    killed = true;
    child.kill('SIGKILL');
    await exited;
  };
  const end = exited.then((): QemuEnd => {
    if (guest !== null) return { kind: guest };
    if (killed) return { kind: 'killed' };
    const how = child.signalCode === null ? `exit status ${child.exitCode}` : child.signalCode;
    return { kind: 'failed', message: `QEMU ended (${how})${said.trim() === '' ? '' : `: ${said.trim()}`}` };
  });

  const timer = setTimeout(() => void kill(), STARTS_WITHIN_MS);
  try {
    await monitor.ready;
    return { serial, monitor, end, kill };
  } catch (cause) {
    await kill();
    if (missing !== null || /setpriv: failed to execute/.test(said)) {
      throw new BoardError('tool-missing', `${program} could not be started: ${missing ?? said.trim()}`, {
        hint: 'On Debian: apt-get install qemu-system-x86 ovmf, or qemu-system-arm u-boot-qemu',
        cause,
      });
    }
    throw new BoardError('board-trouble', `QEMU did not start: ${said.trim() || 'it said nothing'}`, { cause });
  } finally {
    clearTimeout(timer);
  }
}
