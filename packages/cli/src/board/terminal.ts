import type { Duplex } from 'node:stream';

/** Ctrl-], as telnet and virsh have it. */
const LEAVE = 0x1d;

/**
 * Joins the terminal with a board's serial line until Ctrl-] is typed, the line ends, input that is no terminal ends, or
 * the signal. The terminal is raw meanwhile: Ctrl-C goes to the board.
 */
export async function attachTerminal(line: Duplex, signal: AbortSignal): Promise<void> {
  const { stdin, stdout } = process;
  const wasRaw = stdin.isTTY && stdin.isRaw;
  if (stdin.isTTY) stdin.setRawMode(true);
  const type = (chunk: Buffer): void => {
    const leave = stdin.isTTY ? chunk.indexOf(LEAVE) : -1;
    if (leave !== 0) line.write(leave < 0 ? chunk : chunk.subarray(0, leave));
    if (leave >= 0) line.end();
  };
  const stop = (): void => {
    line.destroy();
  };
  try {
    await new Promise<void>((resolve) => {
      line.on('data', (chunk: Buffer) => stdout.write(chunk));
      line.once('close', resolve);
      line.once('error', () => resolve());
      stdin.on('data', type);
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
    });
  } finally {
    stdin.off('data', type);
    stdin.pause();
    signal.removeEventListener('abort', stop);
    if (stdin.isTTY) stdin.setRawMode(wasRaw === true);
    line.destroy();
    if (stdout.isTTY) stdout.write('\r\n');
  }
}
