import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFolder } from '../commit/folder.ts';
import { writeCommit } from '../commit/write-commit.ts';
import type { Tree } from '../formats/object-name.ts';
import type { Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { noise } from './sample-repo.ts';

export const isRoot = process.getuid?.() === 0;

/** A folder in which every kind of change happens between version 1 and 2. */
export function writeVersion(folder: string, version: 1 | 2): void {
  rmSync(folder, { recursive: true, force: true });
  for (const name of ['etc', 'same/deep', 'usr/bin']) mkdirSync(join(folder, name), { recursive: true });
  const write = (name: string, content: string | Buffer) => writeFileSync(join(folder, name), content);
  write('etc/conf', version === 1 ? 'one\ntwo\nthree\n' : 'one\n2\nthree\n');
  write('etc/grows', version === 1 ? 'a' : 'a\nb\n');
  write('etc/mode', 'mode');
  chmodSync(join(folder, 'etc/mode'), version === 1 ? 0o644 : 0o4755);
  write('etc/both', version === 1 ? 'old content' : 'new content');
  chmodSync(join(folder, 'etc/both'), version === 1 ? 0o644 : 0o600);
  write('same/deep/x', 'same');
  write('etc/binary', Buffer.concat([Buffer.from([0]), noise(5000, version)]));
  symlinkSync(version === 1 ? 'old' : 'new', join(folder, 'etc/link'));
  if (version === 1) {
    mkdirSync(join(folder, 'gone/inner'), { recursive: true });
    write('gone/file', 'gone\n');
    write('gone/inner/file', 'gone too\n');
    mkdirSync(join(folder, 'was-folder'));
    write('was-folder/a', 'a');
    write('was-file', 'file');
    symlinkSync('usr', join(folder, 'was-link'));
  } else {
    mkdirSync(join(folder, 'new/inner'), { recursive: true });
    write('new/inner/file', 'new\n');
    write('new/copy', 'same');
    write('was-folder', 'now a file');
    mkdirSync(join(folder, 'was-file/in'), { recursive: true });
    write('was-file/in/x', 'x');
    mkdirSync(join(folder, 'was-link'));
    write('was-link/y', 'y');
    chmodSync(join(folder, 'usr/bin'), 0o1777);
  }
  if (isRoot && version === 2) {
    chownSync(join(folder, 'etc/mode'), 12, 34);
    execFileSync('setfattr', ['-n', 'user.note', '-v', '0x00ff0a', join(folder, 'same/deep/x')]);
  }
}

/** Commits a folder to a ref; the time of the commit is fixed. */
export async function commitFolder(repo: Repo, folder: string, ref: string): Promise<Tree> {
  return withTransaction(repo, async (tx) => {
    const tree = await writeFolder(tx, folder);
    tx.setRef(ref, await writeCommit(tx, { tree, timestamp: 1 }));
    return tree;
  });
}
