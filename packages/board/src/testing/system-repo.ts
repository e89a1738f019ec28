import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Why tests of images are left out here; false: they run. */
export const needsRoot =
  process.getuid?.() === 0 ? false : 'files of an image belong to whom the commit says: needs root';

/** A repository with commits that libostree deploys: a kernel that no loader can start, and what tells them apart. */
export function makeSystemRepo(folder: string): {
  repo: string;
  commit(name: string, files?: Record<string, string>): string;
} {
  const repo = join(folder, 'repo');
  execFileSync('ostree', ['init', `--repo=${repo}`, '--mode=archive']);
  return {
    repo,
    commit(name, files = {}) {
      const tree = join(folder, `tree-${name}`);
      const all: Record<string, string> = {
        'usr/lib/modules/6.1.0-test/vmlinuz': `no kernel: ${name}`,
        'usr/lib/modules/6.1.0-test/initramfs.img': `no initramfs: ${name}`,
        'usr/lib/os-release': `NAME=Test\nID=test\nVERSION_ID=${name}\nPRETTY_NAME="Test ${name}"\n`,
        'usr/etc/hostname': 'test\n',
        'usr/share/zeros': '\0'.repeat(200_000),
        'usr/share/with blanks "and" more': 'x',
        ...files,
      };
      for (const [path, text] of Object.entries(all)) {
        mkdirSync(dirname(join(tree, path)), { recursive: true });
        writeFileSync(join(tree, path), text);
      }
      for (const name of ['boot', 'dev', 'proc', 'run', 'sys', 'sysroot', 'tmp', 'var']) mkdirSync(join(tree, name));
      const args = ['commit', `--repo=${repo}`, `--branch=${name}`, `--tree=dir=${tree}`, '--timestamp=2026-01-01'];
      return execFileSync('ostree', args, { encoding: 'utf8' }).trim();
    },
  };
}
