import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ostree } from './scratch.ts';

/** Bytes that deflate cannot make smaller, the same each time. */
export function noise(length: number, seed = 1): Buffer {
  const data = Buffer.allocUnsafe(length);
  let state = seed >>> 0 || 1;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[at] = state >>> 24;
  }
  return data;
}

/** A folder with a little of everything. */
export function writeSampleFolder(folder: string): void {
  for (const name of ['usr/bin', 'usr/share/doc', 'etc/empty', 'odd names']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  writeFileSync(join(folder, 'usr/bin/tool'), noise(5000), { mode: 0o755 });
  symlinkSync('tool', join(folder, 'usr/bin/alias'));
  symlinkSync('/nowhere/at/all', join(folder, 'usr/bin/dangling'));
  writeFileSync(join(folder, 'etc/nothing'), '');
  writeFileSync(join(folder, 'odd names/süß & 100% "quoted"'), 'odd');
  for (let index = 0; index < 60; index++) {
    mkdirSync(join(folder, `usr/share/doc/p${index % 12}`), { recursive: true });
    writeFileSync(join(folder, `usr/share/doc/p${index % 12}/f${index}`), `text ${index}\n`.repeat(index));
  }
  writeFileSync(join(folder, 'zeros'), Buffer.alloc(3_000_000));
  writeFileSync(join(folder, 'large'), noise(3_000_000, 7));
  chmodSync(join(folder, 'large'), 0o640);
}

/** An archive repository with that folder as the commit of `main`, made by libostree. */
export function libostreeRepo(base: string, ...options: string[]): { path: string; folder: string; commit: string } {
  const path = join(base, 'theirs');
  const folder = join(base, 'folder');
  writeSampleFolder(folder);
  ostree(`--repo=${path}`, 'init', '--mode=archive');
  const args = ['commit', '-b', 'main', '-s', 'first', '--canonical-permissions', ...options, folder];
  return { path, folder, commit: ostree(`--repo=${path}`, ...args) };
}
