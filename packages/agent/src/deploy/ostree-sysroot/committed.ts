import type { Entry } from '../../difference/entry.ts';
import { ostree } from './ostree-command.ts';

const TYPES = { '-': 'file', d: 'folder', l: 'symlink' } as const;

/** What a commit has at a path: itself and what is in it, or, with `below`, everything below. */
export async function listCommitted(
  repo: string,
  commit: string,
  o: { path: string; below: boolean; signal?: AbortSignal | undefined },
): Promise<Map<string, Entry>> {
  const args = ['ls', `--repo=${repo}`, ...(o.below ? ['-R'] : []), commit, o.path];
  return parseList(await ostree(args, o.signal));
}

/**
 * The lines of `ostree ls`, as `ot-builtin-ls.c` prints them: type and mode, owner, group, size, path, and ` -> ` with the
 * target of a symlink. A line of no such form goes on with a name that has a line break in it.
 */
export function parseList(text: string): Map<string, Entry> {
  const lines: string[] = [];
  for (const line of text.replace(/\n$/, '').split('\n')) {
    if (LINE.test(line)) lines.push(line);
    else if (lines.length > 0) lines.push(`${lines.pop()}\n${line}`);
  }
  const entries = new Map<string, Entry>();
  for (const line of lines) {
    const [, letter, mode, uid, gid, size, rest] = LINE.exec(line) as unknown as string[];
    const type = TYPES[letter as keyof typeof TYPES];
    const arrow = type === 'symlink' ? rest!.indexOf(' -> ') : -1;
    entries.set(arrow < 0 ? rest! : rest!.slice(0, arrow), {
      type,
      mode: Number.parseInt(mode!, 8) & 0o7777,
      uid: Number(uid),
      gid: Number(gid),
      size: type === 'file' ? Number(size) : 0,
      target: arrow < 0 ? null : rest!.slice(arrow + ' -> '.length),
    });
  }
  return entries;
}

const LINE = /^([-dl])(0[0-7]{4}) (\d+) (\d+) +(\d+) (\/[\s\S]*)$/;
