import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { BoardError } from '../../errors.ts';
import { findPartition } from './gpt.ts';

const run = promisify(execFile);

/** A file at the root of the file system, beside what OSTree manages: nothing of the system looks there. */
const FILLER = '/board-filler';

/**
 * Leaves so many bytes free on the root file system (ext4) of an image that is in use by nobody, or gives back what was
 * taken. Needs e2fsprogs; nothing is mounted.
 *
 * @throws BoardError `tool-failed`, `tool-missing`
 */
export async function fillImage(image: string, leaveBytes: number | null, signal?: AbortSignal): Promise<void> {
  const { offset } = await findPartition(image, 'root');
  const device = `${image}?offset=${offset}`;
  const tool = async (program: string, ...argv: string[]): Promise<string> => {
    try {
      return (await run(program, argv, { ...(signal ? { signal } : {}), env: { ...process.env, LC_ALL: 'C' } })).stdout;
    } catch (error) {
      if (signal?.aborted) throw error;
      const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string };
      // What was mounted when the power went has a journal to play back: exit status 1 is "repaired".
      if (program === 'e2fsck' && code === 1) return stdout;
      const isMissing = code === 'ENOENT';
      throw new BoardError(
        isMissing ? 'tool-missing' : 'tool-failed',
        `${program} on ${image}: ${isMissing ? 'not installed' : stderr.trim() || stdout.trim()}`,
        { hint: isMissing ? 'On Debian: apt-get install e2fsprogs' : 'Is the root file system ext4?', cause: error },
      );
    }
  };
  await tool('e2fsck', '-f', '-p', device);
  await tool('debugfs', '-w', '-R', `rm ${FILLER}`, device);
  if (leaveBytes === null) return;
  const superblock = await tool('dumpe2fs', '-h', device);
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(superblock)?.[1] ?? 0);
  const blockSize = field('Block size');
  const blocks = field('Free blocks') - Math.ceil(leaveBytes / blockSize);
  if (blocks <= 0) return;
  await tool('debugfs', '-w', '-R', `write /dev/null ${FILLER}`, device);
  await tool('debugfs', '-w', '-R', `fallocate ${FILLER} 0 ${blocks - 1}`, device);
  await tool('debugfs', '-w', '-R', `sif ${FILLER} size ${blocks * blockSize}`, device);
}
