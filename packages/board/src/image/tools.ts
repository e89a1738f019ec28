import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import type { BoardFile } from '../board-file.ts';
import { searchPath } from '../command.ts';
import { BoardError } from '../errors.ts';

/** Programs, and the Debian packages that bring them. */
const ALWAYS: Readonly<Record<string, string>> = {
  ostree: 'ostree',
  sgdisk: 'gdisk',
  'mkfs.vfat': 'dosfstools',
  mcopy: 'mtools',
  mmd: 'mtools',
  mke2fs: 'e2fsprogs',
  debugfs: 'e2fsprogs',
  dumpe2fs: 'e2fsprogs',
};

const BY_LOADER: Readonly<Record<BoardFile['boot']['loader'], Readonly<Record<string, string>>>> = {
  grub: { 'grub-mkimage': 'grub-common' },
  uboot: { mkimage: 'u-boot-tools' },
  'systemd-boot': {},
};

/** @throws BoardError `tool-missing` with everything that this machine lacks for an image of the board */
export async function checkTools(board: BoardFile): Promise<void> {
  const missing = new Map<string, string>();
  const wanted = { ...ALWAYS, ...BY_LOADER[board.boot.loader] };
  for (const [program, debian] of Object.entries(wanted)) if (!(await isThere(program))) missing.set(program, debian);
  if (process.getuid?.() !== 0) {
    throw new BoardError('tool-failed', 'an image is made as root: its files belong to whom the commit says', {
      hint: 'Root of a user namespace is enough: sudo, or `unshare --user --map-auto --map-root-user` before the command.',
    });
  }
  if (missing.size === 0) return;
  throw new BoardError('tool-missing', `an image for ${board.name} needs ${[...missing.keys()].join(', ')}`, {
    hint: `apt-get install ${[...new Set(missing.values())].join(' ')}`,
  });
}

async function isThere(program: string): Promise<boolean> {
  for (const folder of searchPath().split(':')) {
    const found = await access(join(folder, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}
