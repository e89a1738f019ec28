import { BoardError } from '../errors.ts';
import { type Console, lastLines } from './console.ts';

/**
 * Watches that a board which was just switched on prints anything at all. A dead board, a wrong cable or firmware that
 * hangs is trouble with the board; a kernel that hangs has printed something before, and is the system's failure.
 */
export function watchSilence(
  console: Console,
  o: { ms: number; what: string; onSilence: (error: BoardError) => void },
): { stop: () => void } {
  const since = console.mark();
  const stop = (): void => {
    clearTimeout(timer);
    unlisten();
  };
  const unlisten = console.listen((chunk, { isNote }) => {
    if (!isNote && chunk.some((byte) => byte > 0x20 && byte < 0x7f)) stop();
  });
  const timer = setTimeout(() => {
    stop();
    const said = lastLines(console.text(since));
    o.onSilence(
      new BoardError('board-trouble', `${o.what} within ${Math.round(o.ms / 1000)} s of being switched on`, {
        hint: said === '' ? 'Its firmware did not start: look at its power, its serial line, its boot medium.' : said,
      }),
    );
  }, o.ms);
  return { stop };
}
