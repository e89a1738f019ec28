import assert from 'node:assert/strict';
import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { VerbRequest, VerbResult } from './verb-process.ts';

export interface RunSettings {
  cwd?: string;
  env?: Record<string, string>;
}

let child: ChildProcess | undefined;
let died: Promise<never> | undefined;
after(() => child?.kill());

/** Runs `treeline repo` with these arguments, one after the other in one process. */
export async function ours(
  args: readonly string[],
  { cwd = process.cwd(), env = {} }: RunSettings = {},
): Promise<VerbResult> {
  child ??= fork(fileURLToPath(new URL('./verb-process.ts', import.meta.url)), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  died ??= once(child, 'exit').then(([code, signal]): never => assert.fail(`it died: ${code ?? signal}`));
  const answer = once(child, 'message') as Promise<[VerbResult]>;
  child.send({ args: [...args], cwd, env } satisfies VerbRequest);
  return (await Promise.race([answer, died]))[0];
}

/** The same with stock `ostree`. */
export function theirs(args: readonly string[], { cwd = process.cwd(), env = {} }: RunSettings = {}): VerbResult {
  const { status, stdout, stderr } = spawnSync('ostree', args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { status: status ?? -1, stdout, stderr };
}
