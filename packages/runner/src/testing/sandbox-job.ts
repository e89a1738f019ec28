import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asOwnerOfAll } from '../sandbox/root-entry.ts';
import { findRootIds } from '../sandbox/root-ids.ts';
import type { Ending, Sandbox, SandboxJob } from '../sandbox/sandbox.ts';
import { removeTree } from '../trees/remove.ts';

/** A temporary folder that goes away with `await using`. */
export async function temporaryFolder(): Promise<{ path: string; [Symbol.asyncDispose]: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'treeline-runner-test-'));
  return { path, [Symbol.asyncDispose]: () => removeTree(path).catch(() => removeOfRoot(path)) };
}

/** What root jobs of a runner that is not root leave for a test to look at, only somebody else can remove. */
async function removeOfRoot(path: string): Promise<void> {
  const ids = await findRootIds();
  assert.ok('host' in ids, `${path} cannot be removed`);
  const [program = '', ...args] = asOwnerOfAll(ids, ['rm', '-rf', path]);
  execFileSync(program, args);
}

/** Runs a script in a sandbox, in a folder below `parent` that stays for the test to look at. */
export async function runScript(
  sandbox: Sandbox,
  parent: string,
  command: string,
  o: Partial<Omit<SandboxJob, 'dir' | 'command' | 'limits'>> &
    Partial<SandboxJob['limits']> & { signal?: AbortSignal } = {},
): Promise<{ ending: Ending; output: string; dir: string }> {
  const dir = await mkdtemp(join(parent, 'job-'));
  for (const name of ['src', 'out', 'tmp']) await mkdir(join(dir, name));
  const chunks: Uint8Array[] = [];
  const { timeoutSeconds = 20, diskBytes = 50_000_000, memoryBytes, signal, ...rest } = o;
  const ending = await sandbox.run(
    {
      dir,
      image: null,
      inputs: [],
      command,
      environment: {},
      network: false,
      gpu: false,
      limits: { timeoutSeconds, diskBytes, ...(memoryBytes === undefined ? {} : { memoryBytes }) },
      ...rest,
    },
    {
      onOutput: async (chunk) => {
        chunks.push(chunk);
      },
      signal: signal ?? new AbortController().signal,
    },
  );
  return { ending, output: Buffer.concat(chunks).toString('utf8'), dir };
}
