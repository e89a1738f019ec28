import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { BoardError } from '../errors.ts';

const run = promisify(execFile);

const SCRIPTS = {
  plain: 'exec cp --sparse=always --reflink=auto -- "$1" "$2"',
  zst: 'exec zstd -dqc --sparse -- "$1" >"$2"',
  xz: 'exec xz -dc -- "$1" >"$2"',
} as const;

/**
 * Copies a disk image, unpacking `.zst` and `.xz`; what is empty in it takes no space in the copy.
 *
 * @throws BoardError `tool-failed`
 */
export async function unpackImage(image: string, to: string, signal?: AbortSignal): Promise<void> {
  const kind = image.endsWith('.zst') ? 'zst' : image.endsWith('.xz') ? 'xz' : 'plain';
  try {
    await run('sh', ['-c', SCRIPTS[kind], 'sh', image, to], signal ? { signal } : {});
  } catch (error) {
    if (signal?.aborted) throw error;
    const { stderr = '' } = error as { stderr?: string };
    throw new BoardError('tool-failed', `${image} could not be copied: ${stderr.trim() || String(error)}`, {
      hint:
        kind === 'plain' ? 'Is there enough space?' : `Is it whole, and is ${kind === 'xz' ? 'xz' : 'zstd'} installed?`,
      cause: error,
    });
  }
}
