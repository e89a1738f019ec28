import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { messageOf } from '../errors.ts';
import { runProgram } from '../health/program.ts';

/** Exit code of a hook for "not now" (sysexits.h: EX_TEMPFAIL). */
const LATER = 75;

/**
 * Runs the executables of a hook folder in the order of their names, until one objects.
 *
 * @returns why it is not the time, or null. A hook that fails or hangs holds the update back, too: nobody knows what it
 *   would have said.
 */
export async function askHooks(
  folder: string,
  o: { environment: Record<string, string>; timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<string | null> {
  const names: string[] = await readdir(folder).catch(() => []);
  for (const name of names.sort()) {
    const path = join(folder, name);
    const stats = await stat(path).catch(() => null);
    if (stats === null || !stats.isFile() || (stats.mode & 0o111) === 0) continue;
    const why = await ask(path, o);
    if (why !== null) return why;
  }
  return null;
}

async function ask(path: string, o: Parameters<typeof askHooks>[1]): Promise<string | null> {
  const name = basename(path);
  try {
    const ended = await runProgram([path], { timeoutMs: o.timeoutMs, environment: o.environment, signal: o.signal });
    if (ended.exitCode === 0) return null;
    const said = ended.output.trim().split('\n').at(-1) ?? '';
    if (ended.timedOut) return `hook ${name} did not answer in ${Math.round(o.timeoutMs / 1000)} s`;
    if (ended.exitCode === LATER) return said === '' ? `hook ${name} says: not now` : said;
    return `hook ${name} failed with exit code ${ended.exitCode ?? 'none'}${said === '' ? '' : `: ${said}`}`;
  } catch (error) {
    if (o.signal?.aborted) throw error;
    return `hook ${name} cannot be run: ${messageOf(error)}`;
  }
}

/** What a lock file says, or that it is there; null without one. Any file in the folder is a lock. */
export async function findLock(folder: string): Promise<string | null> {
  const [name] = (await readdir(folder).catch(() => [])).filter((entry) => !entry.startsWith('.')).sort();
  if (name === undefined) return null;
  const text = await readFile(join(folder, name), 'utf8').catch(() => '');
  const line = text.slice(0, 1000).trim().split('\n')[0] ?? '';
  return line === '' ? `locked by ${join(folder, name)}` : `locked by ${name}: ${line}`;
}
