import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command, Contender, Sample } from './suite.ts';

class CommandFailed extends Error {
  readonly command: Command;
  readonly exitCode: number | null;

  constructor(command: Command, exitCode: number | null, output: string) {
    const lines = output.trim().split('\n');
    super(`${command.join(' ')}: exit code ${exitCode ?? 'none'}: ${lines.at(-1)?.slice(0, 300) ?? ''}`);
    this.name = 'CommandFailed';
    this.command = command;
    this.exitCode = exitCode;
  }
}

/**
 * Runs a command to its end under GNU time, which reads the kernel's own accounting (wait4) when it exits: of time,
 * and of the largest resident set of any one of its processes. What several take together is sampled meanwhile, and the
 * larger of both counts. Starting GNU time costs both sides the same 1 ms; without it, a child of this process would
 * inherit this process's size as its own peak.
 */
export async function runMeasured(contender: Contender, signal?: AbortSignal): Promise<Sample> {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-bench-'));
  const account = join(folder, 'time');
  let together = 0;
  try {
    const began = performance.now();
    const stdout = await runCommand(
      ['/usr/bin/time', '-o', account, '-f', '%M %U %S', ...contender.command],
      contender.environment,
      signal,
      (pid) => {
        together = Math.max(together, residentBytes(pid));
      },
    );
    const seconds = (performance.now() - began) / 1000;
    const [kilobytes = 0, user = 0, system = 0] = readFileSync(account, 'utf8').trim().split(' ').map(Number);
    return { seconds, peakBytes: Math.max(kilobytes * 1024, together), cpuSeconds: user + system, stdout };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const LOOK_MS = 50;

/** What a process's descendants take now; 0 when there are none any more. Pages that they share count for each. */
function residentBytes(pid: number): number {
  let bytes = 0;
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ');
    for (const child of children.filter((text) => text !== '').map(Number)) {
      const pages = readFileSync(`/proc/${child}/statm`, 'latin1').split(' ')[1];
      bytes += Number(pages) * 4096 + residentBytes(child);
    }
  } catch {
    // It has ended.
  }
  return bytes;
}

/** Runs a command to its end; gives its stdout; throws CommandFailed with the last line it printed. */
export function runCommand(
  command: Command,
  environment: Record<string, string> = {},
  signal?: AbortSignal,
  look?: (pid: number) => void,
): Promise<string> {
  const [program, ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C.UTF-8', ...environment },
      signal,
    });
    const timer = look && setInterval(() => look(child.pid!), LOOK_MS);
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.on('error', (error) => {
      clearInterval(timer);
      reject(error);
    });
    child.on('close', (code) => {
      clearInterval(timer);
      if (code === 0) resolve(Buffer.concat(stdout).toString('utf8'));
      else reject(new CommandFailed(command, code, Buffer.concat([...stdout, ...stderr]).toString('utf8')));
    });
  });
}
