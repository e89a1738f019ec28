import { createWriteStream } from 'node:fs';
import { BoardError } from '../errors.ts';
import { createEscapeStripper } from './escapes.ts';

/** What was printed by the board: kept as text without terminal escapes, this many characters of it. */
const KEPT_CHARACTERS = 1024 ** 2;

/** A place in what a console has printed; later ones are larger. */
export type Mark = number;

export type WaitOptions = {
  /** Looks at what was printed after this place; default: at what is printed from now on. */
  since?: Mark;
  timeoutMs?: number;
  signal?: AbortSignal;
};

/** A serial line: what comes goes to a log file, to listeners, and to those who wait for a pattern. */
export interface Console {
  /** Where the output so far ends. */
  mark(): Mark;
  /** What was printed since then (at most the last mebibyte), without terminal escapes. */
  text(since?: Mark): string;
  /** Types something. What is typed while nobody listens is lost, as on a real line. */
  write(text: string | Uint8Array): void;
  /**
   * Waits for a pattern in the output.
   *
   * @throws BoardError `not-seen` when it does not come in time, with the last lines; the signal's reason
   */
  waitFor(pattern: RegExp | string, o?: WaitOptions): Promise<RegExpExecArray>;
  /** Calls back with all raw output from now on, and with notes of the driver's; returns how to stop that. */
  listen(listener: (chunk: Uint8Array, o: { isNote: boolean }) => void): () => void;
}

/** A console with the end that the driver holds. */
export interface DrivenConsole extends Console {
  /** The board has printed this. */
  print(chunk: Uint8Array): void;
  /** Adds a line of the driver's own to the log: what was done to the board, where it was done. */
  note(line: string): void;
  /** Where what is typed goes; null: nowhere. */
  connect(writer: ((chunk: Uint8Array) => void) | null): void;
  /** Ends the log; resolves when all of it is written. */
  close(): Promise<void>;
}

/** Makes a console. `log` is appended to; null: none is kept. */
export function createConsole(o: { log: string | null }): DrivenConsole {
  const file = o.log === null ? null : createWriteStream(o.log, { flags: 'a', mode: 0o600 });
  // A log that cannot be written must not end the board: the text is still here.
  file?.on('error', () => {});
  const decoder = new TextDecoder();
  const strip = createEscapeStripper();
  const listeners = new Set<Parameters<Console['listen']>[0]>();
  const waiters = new Set<() => void>();
  let writer: ((chunk: Uint8Array) => void) | null = null;
  let kept = '';
  let dropped = 0;

  const add = (chunk: Uint8Array, isNote = false): void => {
    file?.write(chunk);
    for (const listener of listeners) listener(chunk, { isNote });
    kept += strip(decoder.decode(chunk, { stream: true }));
    if (kept.length > 2 * KEPT_CHARACTERS) {
      dropped += kept.length - KEPT_CHARACTERS;
      kept = kept.slice(-KEPT_CHARACTERS);
    }
    for (const look of waiters) look();
  };
  const textSince = (since: Mark): string => kept.slice(Math.max(0, since - dropped));

  const self: DrivenConsole = {
    mark: () => dropped + kept.length,
    text: (since = 0) => textSince(since),
    write: (text) => writer?.(typeof text === 'string' ? Buffer.from(text) : text),
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    waitFor(pattern, { since = self.mark(), timeoutMs, signal } = {}) {
      // A pattern with the flags g or y would begin where its last match ended.
      const expression = new RegExp(
        typeof pattern === 'string' ? escaped(pattern) : pattern.source,
        typeof pattern === 'string' ? '' : pattern.flags.replace(/[gy]/g, ''),
      );
      return new Promise((resolve, reject) => {
        const end = (): void => {
          waiters.delete(look);
          clearTimeout(timer);
          signal?.removeEventListener('abort', abort);
        };
        const look = (): void => {
          const found = expression.exec(textSince(since));
          if (!found) return;
          end();
          resolve(found);
        };
        const abort = (): void => {
          end();
          reject(signal?.reason as Error);
        };
        const late = (): void => {
          end();
          const message = `the console did not say ${expression} within ${Math.round((timeoutMs ?? 0) / 1000)} s`;
          reject(new BoardError('not-seen', message, { hint: `It ends with:\n${lastLines(textSince(since))}` }));
        };
        const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
        signal?.addEventListener('abort', abort, { once: true });
        waiters.add(look);
        if (signal?.aborted) abort();
        else look();
      });
    },
    print: (chunk) => add(chunk),
    note: (line) => add(Buffer.from(`\r\n[treeline: ${line}]\r\n`), true),
    connect: (to) => {
      writer = to;
    },
    close: () =>
      new Promise((resolve) => {
        if (file === null) resolve();
        else file.end(() => resolve());
        file?.once('error', () => resolve());
      }),
  };
  return self;
}

/** The last lines of a console, for messages. */
export function lastLines(text: string, count = 12): string {
  const lines = text.split(/\r*\n/).map((line) => line.trimEnd());
  return lines
    .filter((line) => line !== '')
    .slice(-count)
    .map((line) => `  ${line.slice(0, 200)}`)
    .join('\n');
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
