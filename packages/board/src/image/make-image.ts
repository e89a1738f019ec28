import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { lookUp, openRepo, type Repo, readCommit, resolveRev, type Tree, treeReader } from '@treeline/ostree';
import type { BoardFile } from '../board-file.ts';
import { grubEnvironment, makeGrub } from '../boot/grub.ts';
import { systemdBootFiles } from '../boot/systemd-boot.ts';
import { makeUbootScript, ubootEnvironment } from '../boot/uboot.ts';
import { BoardError } from '../errors.ts';
import { boardFatFiles, writeRawFiles } from './board-files.ts';
import { makeExt4 } from './ext4.ts';
import { type FatFile, makeFat } from './fat.ts';
import { imageIdentity } from './identity.ts';
import { partition, type Range } from './partitions.ts';
import { type ImageRemote, makeSysroot, removeSysroot, STATEROOT } from './sysroot.ts';
import { checkTools } from './tools.ts';

export type ImageStep = 'sysroot' | 'boot-loader' | 'file-systems';

export interface RawImageOptions {
  /** Path of an OSTree repository of any mode. */
  repo: string;
  /** Checksum, or a ref of the repository. */
  commit: string;
  board: BoardFile;
  remote?: ImageRemote | undefined;
  /** What the agent enrols with: the text of /var/lib/treeline/enrol.json. */
  enrolment?: string | undefined;
  signal?: AbortSignal | undefined;
  onStep?: ((step: ImageStep) => void) | undefined;
}

export interface RawImage {
  path: string;
  commit: string;
  bytes: number;
  /** What must be written to a disk although it may be zeros. */
  needed: Range[];
}

/** The first second that FAT can write down. */
const FIRST_FAT_TIME = Date.UTC(1980, 0, 1) / 1000;

/**
 * Makes a disk image, a sparse file: partitions, boot loader, and a sysroot with the commit as its first deployment.
 * Nothing is mounted. The same commit, board file, options and tools give the same bytes.
 *
 * @param output a path in a folder with room for twice the system; what is there already is replaced
 * @throws BoardError `tool-missing` with everything that is missing, `invalid`, `tool-failed`
 */
export async function makeRawImage(output: string, o: RawImageOptions): Promise<RawImage> {
  const path = resolve(output);
  const { board, signal } = o;
  await checkTools(board);
  const repo = await openRepo(o.repo);
  const commit = await resolveRev(repo, o.commit);
  const { tree, timestamp } = await readCommit(repo, commit);
  checkTree(repo, tree, commit);
  const time = Math.max(timestamp, FIRST_FAT_TIME);
  const identity = imageIdentity(JSON.stringify([commit, board.name, board.image.size, board.image.esp]));
  const work = join(dirname(path), `.${basename(path)}.${process.pid}`);
  const image = join(work, 'disk.img');
  const sysroot = join(work, 'sysroot');
  // Of folders that tools make in the sysroot, their modes are part of the image.
  const umask = process.umask(0o022);
  try {
    await mkdir(work, { recursive: true, mode: 0o700 });
    o.onStep?.('sysroot');
    await makeSysroot(sysroot, {
      ...{ repo: o.repo, commit, loader: board.boot.loader, kernelArguments: board.boot['kernel-arguments'] },
      ...{ remote: o.remote, enrolment: o.enrolment, signal },
    });
    const deployment = await deploymentOf(sysroot);
    o.onStep?.('boot-loader');
    const files = [
      ...(await loaderFiles(board, { work, deployment, boot: join(sysroot, 'boot'), signal })),
      ...(await boardFatFiles(board, deployment)),
    ];
    o.onStep?.('file-systems');
    const partitions = await partition(image, board, identity, signal);
    const raw = await writeRawFiles(image, board, deployment);
    const options = { identity, time, folder: work, signal };
    const fat = await makeFat(image, partitions.esp, files, options);
    const root = await makeExt4(image, partitions.root, sysroot, options);
    await rename(image, path);
    return { path, commit, bytes: (await stat(path)).size, needed: [...partitions.tables, ...raw, ...fat, ...root] };
  } finally {
    process.umask(umask);
    await removeSysroot(sysroot);
    await rm(work, { recursive: true, force: true });
  }
}

async function loaderFiles(
  board: BoardFile,
  o: { work: string; deployment: string; boot: string; signal?: AbortSignal | undefined },
): Promise<FatFile[]> {
  const { architecture, boot } = board;
  switch (boot.loader) {
    case 'grub':
      return [
        await makeGrub(architecture, o.work, o.signal),
        { to: 'grubenv', content: grubEnvironment({ boot_success: '1' }) },
      ];
    case 'uboot':
      return [
        await makeUbootScript(architecture, boot['device-tree'], o.work, o.signal),
        { to: 'uboot.env', content: ubootEnvironment({ upgrade_available: 0, bootcount: 0 }) },
      ];
    case 'systemd-boot':
      return systemdBootFiles(architecture, o.deployment, o.boot);
  }
}

/** What cannot boot is refused before anything is written. */
function checkTree(repo: Repo, tree: Tree, commit: string): void {
  const reader = treeReader(repo);
  const hasKernel = lookUp(reader, tree, '/usr/lib/modules') !== null;
  const hasEtc = lookUp(reader, tree, '/usr/etc') !== null;
  if (hasKernel && hasEtc) return;
  throw new BoardError(
    'invalid',
    `commit ${commit.slice(0, 12)} is no system: it has no ${hasKernel ? '/usr/etc' : 'kernel'}`,
    {
      hint: 'Make one of a root file system with `treeline ostreeify`, and compose layers onto it.',
    },
  );
}

async function deploymentOf(sysroot: string): Promise<string> {
  const folder = join(sysroot, 'ostree/deploy', STATEROOT, 'deploy');
  const names = (await readdir(folder)).filter((name) => !name.endsWith('.origin'));
  if (names[0] !== undefined) return join(folder, names[0]);
  throw new BoardError('tool-failed', 'ostree admin deploy ended well and deployed nothing');
}
