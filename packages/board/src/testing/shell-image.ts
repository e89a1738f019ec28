import { execFile } from 'node:child_process';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * A disk image whose "system" is a script of the UEFI shell, which Debian's OVMF brings along: it boots in seconds, keeps
 * files on its FAT file system, resets, and takes commands on its console. Needs mtools.
 */
export async function makeShellImage(folder: string, script: string[]): Promise<string> {
  const image = join(folder, 'shell.img');
  const startup = join(folder, 'startup.nsh');
  await writeFile(image, '');
  await truncate(image, 64 * 1024 ** 2);
  await run('mformat', ['-i', image, '-F', '::']);
  await writeFile(startup, ['@echo -off', ...script, ''].join('\r\n'));
  await run('mcopy', ['-i', image, startup, '::']);
  return image;
}
