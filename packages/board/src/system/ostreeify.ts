import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { run } from '../command.ts';
import { BoardError } from '../errors.ts';
import { arrange, generalize, moveDpkg, moveKernel } from './arrange.ts';
import { obstacles } from './chroot.ts';
import { makeInitramfs } from './initramfs.ts';
import { type Inspected, incomplete, inspectSystem, SOURCE_HINT } from './inspect.ts';
import { DONE } from './layout.ts';
import { moveVar } from './var.ts';

export interface OstreeifyOptions {
  /** Which kernel, where the root file system has several. */
  kernel?: string | undefined;
  /** Modules for the initramfs instead of what the distribution would take. */
  modules?: readonly string[] | undefined;
  /** Default: the distribution's ID, such as `debian`. */
  hostname?: string | undefined;
  signal?: AbortSignal | undefined;
  onStep?: ((step: OstreeifyStep) => void) | undefined;
}

export type OstreeifyStep = 'copy' | 'check' | 'initramfs' | 'arrange';

export interface Ostreeified {
  /** The tree. */
  path: string;
  /** It was an OSTree tree already, and was copied as it is. */
  already: boolean;
  system: string;
  architecture: string;
  kernel: string;
  initramfsTool: 'initramfs-tools' | 'dracut';
  initramfsBytes: number;
  /** Entries of /var, and lines of tmpfiles.d that make it again. */
  var: { entries: number; remade: number };
  /** What belonged to the machine that it was built on. */
  removed: string[];
}

/**
 * Makes a distribution's root file system into an OSTree tree that boots: see docs/board.md for what changes. The source
 * is not changed. Everything that is missing is said at once, before anything is done.
 *
 * The same root file system gives the same tree; files have no times in OSTree, and in the initramfs they are zero.
 *
 * @param source a folder, or a tar (also compressed) with the root file system
 * @param target the folder to make; it must not exist or be empty
 * @throws BoardError `system-incomplete`, `invalid`, `exists`, `tool-missing`, `tool-failed`
 */
export async function ostreeify(source: string, target: string, o: OstreeifyOptions = {}): Promise<Ostreeified> {
  const path = resolve(target);
  checkOptions(o);
  if ((await readdir(path).catch(() => [])).length > 0) {
    throw new BoardError('exists', `${path} is there and not empty`, {
      hint: 'Name a folder that does not exist yet.',
    });
  }
  const info = await stat(source).catch(() => null);
  if (info === null) {
    throw new BoardError('not-found', `there is no folder or file ${source}`, { hint: SOURCE_HINT });
  }
  // What is a folder can be checked before it is copied.
  if (info.isDirectory()) await check(resolve(source), o);
  const work = join(dirname(path), `.${basename(path)}.${process.pid}`);
  const umask = process.umask(0o022);
  try {
    await mkdir(work, { recursive: true });
    o.onStep?.('copy');
    await copyRoot(resolve(source), info.isDirectory(), work, o.signal);
    const result = await transform(work, o);
    await rm(path, { recursive: true, force: true });
    await rename(work, path);
    return { path, ...result };
  } finally {
    process.umask(umask);
    await rm(work, { recursive: true, force: true });
  }
}

/** Both are written into files of the system, the modules into a script that runs in it. */
function checkOptions({ hostname, modules }: OstreeifyOptions): void {
  if (hostname !== undefined && !isHostname(hostname)) {
    throw new BoardError('invalid', `"${hostname}" is no host name`, {
      hint: 'Letters, digits and dashes, 63 at most between two dots.',
    });
  }
  for (const name of modules ?? []) {
    if (/^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(name)) continue;
    throw new BoardError('invalid', `"${name}" is no name of a kernel module`, {
      hint: 'Names as lsmod shows them, such as virtio_blk.',
    });
  }
}

function isHostname(text: string): boolean {
  return /^(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*$/.test(text) && text.length <= 64;
}

async function check(root: string, o: OstreeifyOptions): Promise<Inspected> {
  const found = await inspectSystem(root, o);
  const problems = found.done ? [] : await obstacles(root, found.architecture);
  if (problems.length > 0) throw incomplete(root, problems);
  return found;
}

async function transform(root: string, o: OstreeifyOptions): Promise<Omit<Ostreeified, 'path'>> {
  o.onStep?.('check');
  const found = await check(root, o);
  const { kernel, architecture, initramfsTool, name: system } = found;
  const initramfs = join(root, 'usr/lib/modules', kernel, 'initramfs.img');
  const facts = { system, architecture, kernel, initramfsTool };
  if (found.done) {
    const { size } = await stat(initramfs);
    return { ...facts, already: true, initramfsBytes: size, var: { entries: 0, remade: 0 }, removed: [] };
  }
  const named = system.split(' ')[0] ?? '';
  const removed = await generalize(root, { hostname: o.hostname ?? (isHostname(named) ? named : 'linux') });
  o.onStep?.('initramfs');
  await makeInitramfs(root, found, { modules: o.modules, signal: o.signal });
  o.signal?.throwIfAborted();
  o.onStep?.('arrange');
  await moveKernel(root, found);
  await moveDpkg(root);
  const variable = await moveVar(root);
  await mkdir(dirname(join(root, DONE)), { recursive: true });
  await writeFile(join(root, DONE), `${JSON.stringify({ version: 1, ...facts }, null, 2)}\n`);
  await arrange(root);
  const { size } = await stat(initramfs);
  return { ...facts, already: false, initramfsBytes: size, var: variable, removed };
}

async function copyRoot(source: string, isFolder: boolean, target: string, signal?: AbortSignal): Promise<void> {
  if (isFolder) {
    await run('cp', ['-a', '--reflink=auto', `${source}/.`, target], { signal });
    return;
  }
  // Device nodes cannot be made in a user namespace, and are not wanted: the kernel makes /dev.
  const flags = ['--numeric-owner', '--xattrs', '--xattrs-include=*', '--exclude=./dev/*', '--exclude=dev/*'];
  const options = { signal, debian: 'tar' };
  const extract = ['--extract', '--preserve-permissions', ...flags, '--file', source, '--directory', target];
  await run('tar', extract, options).catch((cause: unknown) => {
    if (!(cause instanceof BoardError) || cause.code !== 'tool-failed') throw cause;
    // The words of tar behind its own name, which says nothing more.
    const words = cause.message.replace(/^.*?: (tar: )?/s, '').split('\n')[0];
    throw new BoardError('invalid', `${source} cannot be unpacked: ${words}`, { hint: SOURCE_HINT, cause });
  });
}
