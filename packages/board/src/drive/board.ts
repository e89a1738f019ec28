import type { Console } from './console.ts';

/** What a board can suffer on purpose. Which of them it can is in `Board.faults`. */
export type Fault = 'power-cut' | 'full-disk' | 'network-loss';

export type BoardOptions = { signal?: AbortSignal };

/**
 * A machine that an image can be put on and that can be switched and watched: a QEMU process, something on a desk that
 * commands switch, a device of a LAVA lab.
 *
 * What goes wrong with the board itself (it does not start, its firmware prints nothing, a command of the lab fails) is
 * a BoardError `board-trouble`: it says nothing about the system that was to run. What a board cannot do at all is
 * `not-possible`.
 */
export interface Board {
  readonly name: string;
  /** What it prints on its serial line, over all its boots. */
  readonly console: Console;
  readonly faults: ReadonlySet<Fault>;
  /** Address of this machine as the board reaches it; null: the addresses of its network hold for the board as well. */
  readonly host: string | null;
  /** Address that the board itself is reached at; null: it cannot be reached. */
  readonly address: string | null;
  /** Whether it is switched on. A board that has switched itself off is not. */
  readonly isOn: boolean;
  /** How often it has begun to boot since it was opened. */
  readonly boots: number;
  /** Puts an image on the board, which is off. What was on it is gone. */
  flash(image: string, o?: BoardOptions): Promise<void>;
  /** Switches it on; resolves when power is there, not when something runs. No change when it is on. */
  powerOn(o?: BoardOptions): Promise<void>;
  /** Asks the system to shut down and waits for it; what does not follow loses its power. */
  powerOff(o?: BoardOptions): Promise<void>;
  /** Takes the power away at once, whatever the system does. */
  cutPower(o?: BoardOptions): Promise<void>;
  /** Takes the network away, or gives it back. */
  network(state: 'on' | 'off', o?: BoardOptions): Promise<void>;
  /** Leaves so many bytes free on the root file system, or gives back what was taken (null). The board is off. */
  fillDisk(leaveBytes: number | null, o?: BoardOptions): Promise<void>;
  /** Rejects, if ever, with why the board cannot go on: trouble that no call was waiting for. */
  readonly trouble: Promise<never>;
  /** Takes its power away and leaves nothing behind but the log of the console. */
  close(): Promise<void>;
}
