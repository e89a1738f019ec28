import type { WriteStream } from 'node:tty';
import { paint } from './colour.ts';
import { formatDuration } from './duration.ts';
import { cellWidth, colourSequence } from './text.ts';

const spinner = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** A few lines at the bottom of a terminal that are redrawn in place, under lines that stay. */
export type LiveLines = {
  /** Prints lines that stay (above the live ones). */
  print(text: string): void;
  /** Replaces the live lines. On anything but a terminal nothing is shown. */
  show(lines: string[]): void;
  /** The spinner's picture of this moment. */
  tick(): string;
  /** Removes the live lines and shows the cursor again. Safe to call twice. */
  close(): void;
  /** Whether live lines can be seen at all. */
  readonly live: boolean;
};

/** Live lines on `stream`. On a pipe `print` writes and `show` does nothing. */
export function liveLines(stream: WriteStream | NodeJS.WriteStream = process.stdout): LiveLines {
  const live = stream.isTTY === true && process.env.TERM !== 'dumb';
  let shown = 0;
  let hidden = false;

  // The carriage return: a terminal that echoes ^C leaves the cursor behind it.
  const erase = () => (shown > 0 ? `\r\x1b[${shown}A\x1b[J` : '');
  return {
    live,
    print(text) {
      stream.write(`${erase()}${text}\n`);
      shown = 0;
    },
    show(lines) {
      if (!live) return;
      // More live lines than the screen has could not be erased again: they would have scrolled away.
      const visible = lines
        .slice(0, Math.max(1, (stream.rows || 24) - 2))
        .map((line) => clip(line, stream.columns || 80));
      stream.write(`${erase()}${hidden ? '' : '\x1b[?25l'}${visible.map((line) => `${line}\n`).join('')}`);
      hidden = true;
      shown = visible.length;
    },
    tick: () => spinner[Math.floor(Date.now() / 100) % spinner.length]!,
    close() {
      stream.write(`${erase()}${hidden ? '\x1b[?25h' : ''}`);
      shown = 0;
      hidden = false;
    },
  };
}

/** A line with colours cut to the terminal's width: a wrapped line could not be erased as one. */
function clip(line: string, columns: number): string {
  if (cellWidth(line) < columns) return line;
  let kept = '';
  let cells = 0;
  for (const part of line.split(colourSequence)) {
    if (part.startsWith('\x1b')) {
      kept += part;
      continue;
    }
    for (const character of part) {
      const width = cellWidth(character);
      if (cells + width > columns - 2) return `${kept}\x1b[0m…`;
      kept += character;
      cells += width;
    }
  }
  return kept;
}

/** Shows on stderr, if that is a terminal, that work goes on and for how long; only once it has taken a second. */
export function slowWork(what: string): { close(): void } {
  const screen = liveLines(process.stderr);
  if (!screen.live) return screen;
  const began = Date.now();
  const draw = () => {
    const time = Date.now() - began;
    if (time >= 1000) screen.show([paint('dim', `${screen.tick()} ${what}  ${formatDuration(time)}`, process.stderr)]);
  };
  const timer = setInterval(draw, 100);
  return {
    close() {
      clearInterval(timer);
      screen.close();
    },
  };
}
