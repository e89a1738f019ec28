import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';

/** A folder that goes away with the test. */
export function scratchFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-ostree-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs libostree's own command and returns what it prints. */
export function ostree(...args: string[]): string {
  return execFileSync('ostree', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}

/** The same without standing still meanwhile: for commands that talk to a server of the test itself. */
export async function ostreeMeanwhile(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('ostree', args, { encoding: 'utf8' });
  return stdout.trim();
}
