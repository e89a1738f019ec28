import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { openRepo, readCommit, resolveRev } from '@treeline/ostree';
import type { BoardFile } from '../board-file.ts';
import { grubEnvironment, makeGrub } from '../boot/grub.ts';
import { BoardError } from '../errors.ts';
import { makeExt4 } from './ext4.ts';
import { type FatFile, makeFat } from './fat.ts';
import { imageIdentity } from './identity.ts';
import { partition, type Range } from './partitions.ts';
import { type ImageRemote, makeSysroot, removeSysroot } from './sysroot.ts';

export type ImageStep = 'sysroot' | 'boot-loader' | 'file-systems' | 'compress';

export interface ImageOptions {
  /** Path of an OSTree repository of any mode. */
  repo: string;
  /** Checksum, or a ref of the repository. */
  commit: string;
  board: BoardFile;
  remote?: ImageRemote | undefined;
  enrolment?: string | undefined;
  signal?: AbortSignal | undefined;
  onStep?: ((step: ImageStep) => void) | undefined;
}

export interface RawImage {
  path: string;
  commit: string;
  bytes: number;
  /** What must be written although it may be zeros. */
  needed: Range[];
}

const FIRST_FAT_TIME = Date.UTC(1980, 0, 1) / 1000;

/** Makes the disk image itself, a sparse file. */
export async function makeRawImage(output: string, o: ImageOptions): Promise<RawImage> {
  const path = resolve(output);
  const work = join(dirname(path), `.${basename(path)}.${process.pid}`);
  const image = join(work, 'disk.img');
  const { board, signal } = o;
  await mkdir(work, { recursive: true });
  try {
    const repo = await openRepo(o.repo);
    const commit = await resolveRev(repo, o.commit);
    // The year 1980 is the first that FAT knows.
    const time = Math.max((await readCommit(repo, commit)).timestamp, FIRST_FAT_TIME);
    const identity = imageIdentity(JSON.stringify([commit, board.name, board.image.size, board.image.esp]));
    o.onStep?.('sysroot');
    await makeSysroot(join(work, 'sysroot'), {
      ...{ repo: o.repo, commit, loader: board.boot.loader, kernelArguments: board.boot['kernel-arguments'] },
      ...{ remote: o.remote, enrolment: o.enrolment, signal },
    });
    o.onStep?.('boot-loader');
    const files: FatFile[] = [];
    if (board.boot.loader === 'grub') {
      files.push(await makeGrub(board.architecture, work, signal));
      files.push({ to: 'grubenv', content: grubEnvironment({ boot_success: '1' }) });
    } else {
      throw new BoardError('invalid', `boot loader ${board.boot.loader}`);
    }
    o.onStep?.('file-systems');
    const partitions = await partition(image, board, identity, signal);
    const fat = await makeFat(image, partitions.esp, files, { identity, time, folder: work, signal });
    const root = await makeExt4(image, partitions.root, join(work, 'sysroot'), {
      identity,
      time,
      folder: work,
      signal,
    });
    await rename(image, path);
    return { path, commit, bytes: (await stat(path)).size, needed: [...partitions.tables, ...fat, ...root] };
  } finally {
    await removeSysroot(join(work, 'sysroot'));
    await rm(work, { recursive: true, force: true });
  }
}
