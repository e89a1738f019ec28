import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../command.ts';

const CACHE = join(import.meta.dirname, '../../../../.cache');
const PACKAGES =
  'systemd,systemd-sysv,udev,dbus,ostree,ostree-boot,libostree-1-1,linux-image-cloud-amd64,zstd,kmod,e2fsprogs,ca-certificates,iproute2,procps';
const LEFT_OUT = ['doc', 'man', 'locale', 'info'];

/** A Debian 12 for tests, as a tar; made by mmdebstrap once for a clone, in a minute or two. */
export function debianRoot(): Promise<string> {
  return made('debian-12-amd64', 'bookworm', 'initramfs-tools');
}

/** A Debian 13 with dracut, likewise. */
export function dracutRoot(): Promise<string> {
  return made('debian-13-dracut-amd64', 'trixie', 'dracut');
}

async function made(name: string, suite: string, initramfs: string): Promise<string> {
  const path = join(CACHE, `${name}.tar`);
  if (existsSync(path)) return path;
  mkdirSync(CACHE, { recursive: true });
  // Ends in .tar, by which mmdebstrap knows what to write.
  const temporary = join(CACHE, `${name}.${process.pid}.tar`);
  const excluded = LEFT_OUT.map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);
  try {
    const include = `--include=${PACKAGES},${initramfs}`;
    await run('mmdebstrap', ['--variant=minbase', include, ...excluded, suite, temporary], {
      env: { SOURCE_DATE_EPOCH: '1750000000' },
      debian: 'mmdebstrap',
    });
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
  return path;
}
