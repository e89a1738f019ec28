import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const PROGRAMS = ['dash', 'env', 'cat'];

/** What makes the initramfs: a real program of the system, run inside it, that only does less than Debian's. */
const MKINITRAMFS = `#!/bin/sh
while [ "$1" != -o ]; do shift; done
echo "initramfs of $3" > "$2"
`;

/**
 * A folder with as much of a Debian as \`treeline ostreeify\` asks for: a shell that runs, a kernel that does not. A whole
 * one is in the tests of packages/board.
 */
export function playedDebian(root: string): string {
  const add = (path: string, text: string, mode = 0o644) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text, { mode });
  };
  for (const program of PROGRAMS) {
    const path = `/usr/bin/${program}`;
    const libraries = execFileSync('ldd', [path], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
    for (const one of [path, ...libraries]) {
      const to = join(root, 'usr', one.replace(/^\/usr\//, '/'));
      mkdirSync(dirname(to), { recursive: true });
      execFileSync('cp', ['--dereference', one, to]);
    }
  }
  symlinkSync('dash', join(root, 'usr/bin/sh'));
  mkdirSync(join(root, 'usr/sbin'), { recursive: true });
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(root, name));
  for (const name of ['dev', 'proc', 'var/lib/app', 'home', 'root', 'tmp']) {
    mkdirSync(join(root, name), { recursive: true });
  }
  add('usr/sbin/mkinitramfs', MKINITRAMFS, 0o755);
  for (const path of ['sbin/init', 'sbin/modprobe', 'sbin/fsck.ext4', 'bin/udevadm', 'bin/ostree']) {
    add(`usr/${path}`, 'a program\n', 0o755);
  }
  add('usr/lib/ostree/ostree-prepare-root', 'a program\n', 0o755);
  add('usr/lib/systemd/systemd', 'a program\n', 0o755);
  add('usr/lib/os-release', 'ID=played\nVERSION_ID=1\n');
  add('etc/passwd', 'root:x:0:0::/root:/bin/sh\n');
  add('etc/machine-id', '0123456789abcdef0123456789abcdef\n');
  add('etc/passwd-', 'a copy\n');
  mkdirSync(join(root, 'etc/initramfs-tools'));
  add('boot/vmlinuz-6.1-played', 'a kernel\n');
  mkdirSync(join(root, 'usr/lib/modules/6.1-played'), { recursive: true });
  return root;
}
