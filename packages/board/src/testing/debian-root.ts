import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../command.ts';

const CACHE = join(import.meta.dirname, '../../../../.cache');
const PACKAGES =
  'systemd,systemd-sysv,udev,dbus,ostree,ostree-boot,libostree-1-1,linux-image-cloud-amd64,initramfs-tools,zstd,kmod,e2fsprogs,ca-certificates,iproute2,procps';
const LEFT_OUT = ['doc', 'man', 'locale', 'info'];

/** A Debian 12 for tests, as a tar; made by mmdebstrap once for a clone, in a minute or two. */
export async function debianRoot(): Promise<string> {
  const path = join(CACHE, 'debian-12-amd64.tar');
  if (existsSync(path)) return path;
  mkdirSync(CACHE, { recursive: true });
  // Ends in .tar, by which mmdebstrap knows what to write.
  const temporary = join(CACHE, `debian-12-amd64.${process.pid}.tar`);
  const excluded = LEFT_OUT.map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);
  try {
    await run('mmdebstrap', ['--variant=minbase', `--include=${PACKAGES}`, ...excluded, 'bookworm', temporary], {
      env: { SOURCE_DATE_EPOCH: '1750000000' },
      debian: 'mmdebstrap',
    });
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
  return path;
}
