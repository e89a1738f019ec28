import { createHash, hash } from 'node:crypto';
import { createReadStream, readlinkSync, type Stats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { OstreeError, systemCode } from '../errors.ts';
import { encodeDirMeta } from '../formats/dirmeta.ts';
import { encodeFileHeader } from '../formats/file.ts';
import type { Checksum } from '../formats/object-name.ts';
import { readXattrs } from '../fs/syscalls.ts';

/**
 * The checksum that a file or symlink would have as an object, with its owner, permissions and attributes; of a folder,
 * that of its attributes. What `ostree checksum` prints.
 *
 * @throws OstreeError `not-found`, `unsupported` for devices, sockets and pipes
 */
export async function checksumFile(path: string, options: { xattrs?: boolean } = {}): Promise<Checksum> {
  let stats: Stats;
  try {
    stats = await lstat(path);
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT') throw cause;
    throw new OstreeError('not-found', `${path}: No such file or directory`, { cause });
  }
  const { uid, gid, mode } = stats;
  const xattrs = options.xattrs === false ? [] : readXattrs(path);
  if (stats.isDirectory()) return hash('sha256', encodeDirMeta({ uid, gid, mode, xattrs }));
  const symlinkTarget = stats.isSymbolicLink() ? readlinkSync(path) : '';
  const sum = createHash('sha256').update(encodeFileHeader({ uid, gid, mode, symlinkTarget, xattrs }));
  if (stats.isFile()) {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) sum.update(chunk as Buffer);
  }
  return sum.digest('hex');
}
