import type { WriteStream } from 'node:tty';
import { styleText } from 'node:util';

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'blue' | 'cyan' | 'magenta';

/**
 * `text` in a style when `stream` is a terminal that wants colour, else as it is. NO_COLOR, FORCE_COLOR and TERM=dumb
 * are honoured (https://no-color.org).
 */
export function paint(style: Style | Style[], text: string, stream: NodeJS.WritableStream = process.stdout): string {
  if (!wantsColour(stream)) return text;
  return styleText(style, text, { validateStream: false });
}

function wantsColour(stream: NodeJS.WritableStream): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR) return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '0' && FORCE_COLOR !== 'false') return true;
  return (stream as WriteStream).isTTY === true && TERM !== 'dumb';
}
