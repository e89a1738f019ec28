import { execFile } from 'node:child_process';
import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Arguments of /bin/sh that start a program as every job is started: output and errors in one stream, so that their
 * order is kept; files readable by all (results must not depend on the runner's umask); no core files; no file longer
 * than `fileBytes`, which stops a runaway writer at once and not at the next look at the disk.
 */
export function launchArguments(command: string[], fileBytes: number): string[] {
  // POSIX counts `ulimit -f` in units of 512 bytes.
  const blocks = Math.max(1, Math.ceil(fileBytes / 512));
  const script = `exec 2>&1; umask 022; ulimit -c 0; ulimit -f ${blocks} 2>/dev/null || true; exec "$@"`;
  return ['-c', script, 'sh', ...command];
}

/**
 * A pipe for what a job prints. Node's own are sockets, and a script that does `echo oops >/dev/stderr` cannot open a
 * socket again. `closeWriter` is to be called once the job has its end; `output` ends when all who hold it are gone.
 */
export async function openOutputPipe(
  dir: string,
): Promise<{ writer: number; closeWriter: () => void; output: Readable }> {
  const path = join(dir, 'output');
  await run('mkfifo', ['-m', '600', path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  unlinkSync(path);
  const output = new Socket({ fd: reader, readable: true, writable: false });
  return { writer, closeWriter: () => closeSync(writer), output };
}
