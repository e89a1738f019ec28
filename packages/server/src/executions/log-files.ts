import { constants } from 'node:fs';
import { open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createWakeup, type Wakeup } from '../wakeup.ts';

/** Logs of executions: one file each; that of an earlier lease is kept beside it as `<execution>.<token>.log`. */
export interface LogFiles {
  path(execution: string): string;
  /** Puts the log of the lease before `token` aside. */
  begin(execution: string, token: number): Promise<void>;
  /**
   * Writes a chunk at its byte offset: a chunk that was sent before changes nothing. A gap (the machine lost power
   * after the runner had its answer) is filled with a note that it is one.
   */
  write(execution: string, offset: number, chunk: string): Promise<void>;
  /** Bytes of the log so far; 0 when there is none. */
  size(execution: string): Promise<number>;
  /** Resolves when the log may have grown; see `Wakeup`. */
  wait(execution: string, seen: number, signal?: AbortSignal): Promise<void>;
  version(execution: string): number;
  /** Wakes the log's readers: its execution has ended. */
  end(execution: string): void;
}

const LOOK_AGAIN_MS = 1000;

export function createLogFiles(folder: string): LogFiles {
  const wakeups = new Map<string, Wakeup>();
  const wakeup = (execution: string) => {
    let found = wakeups.get(execution);
    if (!found) {
      found = createWakeup();
      wakeups.set(execution, found);
    }
    return found;
  };
  const path = (execution: string) => join(folder, `${execution}.log`);
  const size = async (execution: string) => {
    try {
      return (await stat(path(execution))).size;
    } catch {
      return 0;
    }
  };
  return {
    path,
    size,
    async begin(execution, token) {
      if ((await size(execution)) > 0) await rename(path(execution), join(folder, `${execution}.${token - 1}.log`));
    },
    async write(execution, offset, chunk) {
      const bytes = Buffer.from(chunk, 'utf8');
      // Not append mode, which would ignore the offset.
      const file = await open(path(execution), constants.O_WRONLY | constants.O_CREAT, 0o600);
      try {
        const { size: have } = await file.stat();
        if (offset > have) await file.write(gap(offset - have), 0, offset - have, have);
        await file.write(bytes, 0, bytes.length, offset);
        await file.datasync();
      } finally {
        await file.close();
      }
      wakeup(execution).notify();
    },
    wait: (execution, seen, signal) => wakeup(execution).past(seen, LOOK_AGAIN_MS, signal),
    version: (execution) => wakeups.get(execution)?.version ?? 0,
    end(execution) {
      wakeups.get(execution)?.notify();
      wakeups.delete(execution);
    },
  };
}

function gap(length: number): Buffer {
  const text = Buffer.from('\n[part of the log was lost]\n');
  return Buffer.concat([text.subarray(0, length), Buffer.alloc(Math.max(0, length - text.length), '.')]);
}
