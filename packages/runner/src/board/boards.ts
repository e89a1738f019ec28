import { type BoardFile, canPlay, readBoardFile } from '@treeline/board';
import { RunnerError } from '../errors.ts';

/** The boards of a runner: by the name that board jobs ask for. */
export interface Boards {
  /** What the runner offers; `qemu` with any board that QEMU plays. */
  readonly names: readonly string[];
  get(name: string): BoardFile | undefined;
}

/**
 * Reads the boards that a runner was given: names of boards that Treeline brings along, or paths of board files. What
 * commands are run for a board is the operator's word: a repository's board files are never read here.
 *
 * @throws RunnerError `bad-settings` for a board that cannot be used here
 */
export async function openBoards(given: readonly string[]): Promise<Boards> {
  const boards = new Map<string, BoardFile>();
  let hasQemu = false;
  for (const one of given) {
    const file = await readBoardFile(one).catch((cause: unknown) => {
      throw new RunnerError('bad-settings', `the board ${one} cannot be read: ${String(cause)}`, { cause });
    });
    if (file.drive === undefined) {
      throw new RunnerError('bad-settings', `the board ${file.name} has no drive: nothing says how it is switched`, {
        hint: 'Give its board file a key drive.',
      });
    }
    if (boards.has(file.name)) throw new RunnerError('bad-settings', `there are two boards ${file.name}`);
    if (file.drive.kind === 'qemu') {
      if (!(await canPlay(file.drive))) {
        throw new RunnerError('bad-settings', `the board ${file.name} needs QEMU and firmware, which are not here`, {
          hint: 'On Debian: apt-get install qemu-system-x86 ovmf, or qemu-system-arm u-boot-qemu',
        });
      }
      hasQemu = true;
    }
    boards.set(file.name, file);
  }
  return {
    names: [...boards.keys(), ...(hasQemu && !boards.has('qemu') ? ['qemu'] : [])].sort(),
    get: (name) => boards.get(name),
  };
}
