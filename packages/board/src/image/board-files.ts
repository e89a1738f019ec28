import { open, readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { BoardFile } from '../board-file.ts';
import { BoardError } from '../errors.ts';
import type { FatFile } from './fat.ts';
import type { Range } from './partitions.ts';

type Place = { from: string; in: 'system' | 'host'; package?: string | undefined };

/** Files of the FAT partition that the board file names. */
export async function boardFatFiles(board: BoardFile, deployment: string): Promise<FatFile[]> {
  const files: FatFile[] = [];
  for (const file of board.image.files) {
    if ('text' in file) {
      files.push({ to: file.to, content: file.text });
      continue;
    }
    const path = await locate(board, file, deployment);
    if (!(await stat(path)).isDirectory()) files.push({ to: file.to, from: path });
    else {
      // Links are passed over: they may lead anywhere, and FAT has none.
      for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue;
        const from = join(entry.parentPath, entry.name);
        files.push({ to: join(file.to, from.slice(path.length + 1)), from });
      }
    }
  }
  return files;
}

/** Writes what lies at fixed places of the disk, such as a first-stage loader. */
export async function writeRawFiles(image: string, board: BoardFile, deployment: string): Promise<Range[]> {
  const written: Range[] = [];
  const disk = await open(image, 'r+');
  try {
    for (const file of board.image.raw) {
      const source = await open(await locate(board, file, deployment), 'r');
      try {
        const content = await source.readFile();
        if (file.at < 34 * 512 || file.at + content.length > board.image.start) {
          throw new BoardError(
            'invalid',
            `${file.from} does not fit at ${file.at}: there is room from 17,408 to ${board.image.start}`,
            { hint: 'The partition table is before, the first partition behind: set image.start later.' },
          );
        }
        await disk.write(content, 0, content.length, file.at);
        written.push({ start: file.at, length: content.length });
      } finally {
        await source.close();
      }
    }
  } finally {
    await disk.close();
  }
  return written;
}

async function locate(board: BoardFile, file: Place, deployment: string): Promise<string> {
  if (file.in === 'system') {
    const paths = await expand(deployment, file.from);
    const path = paths.length === 1 ? await insideOf(deployment, paths[0]!) : null;
    if (path !== null) return path;
  } else if ((await stat(file.from).catch(() => null)) !== null) return await realpath(file.from);
  const where = file.in === 'system' ? 'the system that the image is made of' : 'this machine';
  throw new BoardError('tool-missing', `board ${board.name} needs ${file.from}, which is not in ${where}`, {
    hint: file.package === undefined ? 'The board file names it.' : `apt-get install ${file.package}`,
  });
}

/** A `*` stands for the only name that there is in its folder, such as the version of the kernel. */
async function expand(root: string, path: string): Promise<string[]> {
  const at = path.indexOf('/*/');
  if (at < 0) return [path];
  const folder = await insideOf(root, path.slice(0, at));
  const names = folder === null ? [] : await readdir(folder);
  const paths = names.map((name) => `${path.slice(0, at)}/${name}${path.slice(at + 2)}`);
  return (await Promise.all(paths.map((one) => expand(root, one)))).flat();
}

/**
 * The file at an absolute path of a root file system; null where it is missing, or where links lead out of it: an absolute
 * link means another file there than here.
 */
export async function insideOf(root: string, path: string): Promise<string | null> {
  const found = await realpath(join(root, path)).catch(() => null);
  return found?.startsWith(`${await realpath(root)}/`) ? found : null;
}
