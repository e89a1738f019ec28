import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** The first line that a program prints which has just been started; fails when it ends without one. */
export async function firstLine(child: ChildProcess): Promise<string> {
  const ended = once(child, 'close').then(([code, signal]): never => {
    assert.fail(`${child.spawnargs.join(' ')} ended with ${code ?? signal} and has printed nothing`);
  });
  const [line] = await Promise.race([once(createInterface(child.stdout!), 'line'), ended]);
  return String(line);
}
