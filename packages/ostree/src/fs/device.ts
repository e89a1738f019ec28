import { createRequire } from 'node:module';
import { OstreeError } from '../errors.ts';

const S_IFCHR = 0o020000;

type Mknod = (path: Buffer, mode: number, device: number) => number;

let loaded: { mknod: Mknod; errno: () => number } | undefined;

/** Makes the character device 0:0, which is what overlayfs takes for "there is nothing here". */
export function makeCharacterDevice(path: string, permissions: number): void {
  if (process.platform !== 'linux') throw new OstreeError('unsupported', `${path}: a whiteout device needs Linux`);
  if (!loaded) {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const mknod = koffi.load('libc.so.6').func('int mknod(void *path, uint32_t mode, uint64_t device)');
    loaded = { mknod: mknod as unknown as Mknod, errno: () => koffi.errno() };
  }
  if (loaded.mknod(Buffer.from(`${path}\0`), S_IFCHR | permissions, 0) !== 0) {
    throw new OstreeError('io', `Creating whiteout char device ${path}: errno ${loaded.errno()}`);
  }
}
