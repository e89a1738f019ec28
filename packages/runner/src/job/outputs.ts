import { isUtf8 } from 'node:buffer';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { kindInside } from '../sandbox/inside.ts';

/** Where a declared output is on this machine, or why it cannot be stored. Messages speak of /out, as the job does. */
export type FoundOutput =
  | { kind: 'found'; folder: string }
  | { kind: 'output-missing' | 'output-invalid'; message: string };

const LISTED = 20;

/** Looks for an output in a job's /out, which is the folder `out`. Follows no symlink: they are stored as such. */
export async function findOutput(out: string, output: { name: string; path: string }): Promise<FoundOutput> {
  const shown = output.path === '.' ? '/out' : `/out/${output.path}`;
  const kind = await kindInside(out, output.path);
  const invalid = (what: string): FoundOutput => ({
    kind: 'output-invalid',
    message: `output "${output.name}": ${what}`,
  });
  if (kind === 'none') {
    const message = `output "${output.name}" is missing: the job passed, but made no ${shown}; ${await listOut(out)}`;
    return { kind: 'output-missing', message };
  }
  if (kind === 'blocked') return invalid(`on the way to ${shown} is a file or a symlink, which is not followed`);
  if (kind !== 'dir') {
    const what = kind === 'file' ? 'file' : kind === 'symlink' ? 'symlink' : 'special file';
    return invalid(`${shown} is a ${what}; an output is a folder, so put it into one`);
  }
  const folder = join(out, output.path);
  const problem = await unstorable(Buffer.from(folder), shown);
  return problem === null ? { kind: 'found', folder } : invalid(problem);
}

/** The first thing below a folder that no tree can hold, in words, or null. */
async function unstorable(folder: Buffer, shown: string): Promise<string | null> {
  const stats = await lstat(folder);
  if (!permitted(stats.mode, 0o500)) return `${shown} cannot be read (mode ${(stats.mode & 0o7777).toString(8)})`;
  for (const entry of await readdir(folder, { withFileTypes: true, encoding: 'buffer' })) {
    const path = Buffer.concat([folder, Buffer.from('/'), entry.name]);
    const name = `${shown}/${entry.name.toString('utf8')}`;
    if (!isUtf8(entry.name)) return `the name of ${JSON.stringify(name)} is not UTF-8`;
    if (entry.isDirectory()) {
      const problem = await unstorable(path, name);
      if (problem !== null) return problem;
    } else if (entry.isFile()) {
      const { mode } = await lstat(path);
      if (!permitted(mode, 0o400)) return `${name} cannot be read (mode ${(mode & 0o7777).toString(8)})`;
    } else if (!entry.isSymbolicLink()) {
      return `${name} is a device, a socket or a pipe, which a tree cannot hold`;
    }
  }
  return null;
}

/** Root may read everything; others need the permission that they themselves could give. */
function permitted(mode: number, needed: number): boolean {
  return process.getuid?.() === 0 || (mode & needed) === needed;
}

async function listOut(out: string): Promise<string> {
  const entries = await readdir(out, { withFileTypes: true }).catch(() => []);
  if (entries.length === 0) return '/out is empty';
  const names = entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)).sort();
  const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : '';
  return `/out holds ${names.slice(0, LISTED).join(', ')}${more}`;
}
