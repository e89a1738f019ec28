import { StringDecoder } from 'node:string_decoder';
import { MAX_LOG_CHUNK } from '../protocol.ts';

/** What of a job's log is kept at most; the rest is counted, not kept. */
const MAX_LOG_BYTES = 64 * 1024 ** 2;

/** With more than this waiting to be sent, the job waits too. */
const HIGH_WATER = 4 * 1024 ** 2;

/** A job's log on its way to the server: what is not acknowledged yet, and where it starts. */
export interface JobLog {
  /** Adds output of the job. Resolves when there is room for more. */
  write(chunk: Uint8Array): Promise<void>;
  /** Adds a line of the runner's own; what the job printed before it ends its line, if it has not. */
  note(line: string): void;
  /** The next piece to send, '' if there is none, and its offset in bytes of UTF-8. */
  peek(): { text: string; offset: number };
  /** The server has this piece. */
  acknowledge(text: string): void;
  /** Output ends here: adds what was left of an incomplete character. */
  end(): void;
  /** Nobody will take the log any more: what comes is dropped, and nobody waits. */
  discard(): void;
  readonly empty: boolean;
  /** Resolves when there is something to send. */
  changed(): Promise<void>;
}

export function createJobLog(maxBytes = MAX_LOG_BYTES): JobLog {
  const decoder = new StringDecoder('utf8');
  let pending = '';
  let offset = 0;
  let taken = 0;
  let atLineStart = true;
  let discarded = false;
  const room: Array<() => void> = [];
  const waiters: Array<() => void> = [];

  const wake = (list: Array<() => void>): void => {
    for (const resolve of list.splice(0)) resolve();
  };
  const add = (text: string): void => {
    if (text === '' || discarded || taken > maxBytes) return;
    taken += Buffer.byteLength(text);
    pending += text;
    atLineStart = text.endsWith('\n');
    if (taken > maxBytes) {
      pending += `\ntreeline: the log is longer than ${Math.floor(maxBytes / 1024 ** 2)} MiB: the rest is left out\n`;
    }
    wake(waiters);
  };
  return {
    write: async (chunk) => {
      add(decoder.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)));
      if (pending.length > HIGH_WATER && !discarded) await new Promise<void>((resolve) => room.push(resolve));
    },
    note: (line) => add(`${atLineStart ? '' : '\n'}treeline: ${line}\n`),
    peek: () => {
      let end = Math.min(pending.length, MAX_LOG_CHUNK);
      // Not between the halves of a character beyond U+FFFF.
      if (end < pending.length && /[\uD800-\uDBFF]/.test(pending.charAt(end - 1))) end--;
      return { text: pending.slice(0, end), offset };
    },
    acknowledge: (text) => {
      pending = pending.slice(text.length);
      offset += Buffer.byteLength(text);
      if (pending.length <= HIGH_WATER) wake(room);
    },
    end: () => add(decoder.end()),
    discard: () => {
      discarded = true;
      pending = '';
      wake(room);
      wake(waiters);
    },
    get empty() {
      return pending === '';
    },
    changed: async () => {
      if (pending === '' && !discarded) await new Promise<void>((resolve) => waiters.push(resolve));
    },
  };
}
