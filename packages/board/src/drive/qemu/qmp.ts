import type { Duplex } from 'node:stream';
import { BoardError } from '../../errors.ts';

/** QEMU's monitor: JSON lines, a greeting first, then answers in the order of the commands, and events in between. */
export interface Monitor {
  /** Resolves when QEMU is there and takes commands. */
  readonly ready: Promise<void>;
  /** @throws BoardError `board-trouble` when QEMU refuses, or is gone */
  execute(command: string, commandArguments?: Record<string, unknown>): Promise<unknown>;
}

export type MonitorEvent = { event: string; data: Record<string, unknown> };

type Message = {
  QMP?: unknown;
  return?: unknown;
  error?: { class: string; desc: string };
  event?: string;
  data?: Record<string, unknown>;
};

type Waiting = { resolve: (value: unknown) => void; reject: (error: unknown) => void; command: string };

export function createMonitor(stream: Duplex, onEvent: (event: MonitorEvent) => void): Monitor {
  const waiting: Waiting[] = [];
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => {});
  let gone = false;
  let text = '';

  const execute = (command: string, commandArguments?: Record<string, unknown>): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (gone) return reject(isGone());
      waiting.push({ resolve, reject, command });
      const message = { execute: command, ...(commandArguments ? { arguments: commandArguments } : {}) };
      stream.write(`${JSON.stringify(message)}\n`);
    });

  const take = (message: Message): void => {
    if (message.QMP !== undefined) {
      execute('qmp_capabilities').then(() => ready.resolve(), ready.reject);
    } else if (message.event !== undefined) {
      onEvent({ event: message.event, data: message.data ?? {} });
    } else {
      const next = waiting.shift();
      if (message.error === undefined) next?.resolve(message.return);
      else next?.reject(new BoardError('board-trouble', `QEMU refuses ${next.command}: ${message.error.desc}`));
    }
  };

  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = text.slice(0, end).trim();
      text = text.slice(end + 1);
      if (line !== '') take(JSON.parse(line) as Message);
    }
  });
  const close = (): void => {
    gone = true;
    ready.reject(isGone());
    for (const { reject } of waiting.splice(0)) reject(isGone());
  };
  stream.on('close', close);
  stream.on('end', close);
  stream.on('error', close);
  return { ready: ready.promise, execute };
}

function isGone(): BoardError {
  return new BoardError('board-trouble', 'QEMU has ended');
}
