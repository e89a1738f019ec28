import { BoardError } from '../errors.ts';
import type { Board } from './board.ts';
import { openCommandBoard } from './command/command-board.ts';
import { createLavaClient } from './lava/client.ts';
import { openLavaBoard } from './lava/lava-board.ts';
import type { QemuNetwork } from './qemu/network.ts';
import { openQemuBoard } from './qemu/qemu-board.ts';
import type { Drive } from './schema.ts';

export type OpenBoardOptions = {
  name: string;
  drive: Drive;
  /** Folder for what the board needs while it is in use. */
  folder: string;
  /** File that its console is appended to; null: none. */
  log: string | null;
  /** What a board in QEMU reaches; others have the network that they are plugged into. Default `open`. */
  network?: QemuNetwork;
  environment?: NodeJS.ProcessEnv;
};

/**
 * Opens a board; it is off. Close it.
 *
 * @throws BoardError `board-trouble`, `tool-missing`, `invalid`
 */
export async function openBoard(o: OpenBoardOptions): Promise<Board> {
  const { drive, name, log } = o;
  if (drive.kind === 'qemu') {
    return await openQemuBoard({ name, drive, folder: o.folder, log, ...(o.network ? { network: o.network } : {}) });
  }
  if (drive.kind === 'command') return await openCommandBoard({ name, drive, log });
  const token = (o.environment ?? process.env)[drive['token-from']];
  if (!token) {
    throw new BoardError('board-trouble', `${name} is in the lab ${drive.server}, and there is no token for it`, {
      hint: `Set ${drive['token-from']} where the runner is started.`,
    });
  }
  return openLavaBoard({ name, drive, log, client: createLavaClient({ server: drive.server, token }) });
}
