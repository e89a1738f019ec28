import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { command, quote, quoteWidth } from './story.ts';

const bin = fileURLToPath(new URL('../../packages/cli/bin/treeline.js', import.meta.url));

export interface CommandResult {
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. */
export async function execute(program: string, args: string[]): Promise<CommandResult> {
  const env = quoteWidth === undefined ? process.env : { ...process.env, COLUMNS: String(quoteWidth) };
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status: status ?? 1, stdout, stderr };
}

/** The `treeline` command of this clone, working on one data folder. */
export class Treeline {
  readonly #data: string;

  constructor(data: string) {
    this.#data = data;
  }

  /** Starts a verb that stays, in a process group of its own; what it says goes to a file, which outlives us. */
  start(args: string[], log: string): ChildProcess {
    const out = openSync(log, 'w');
    try {
      const options = { stdio: ['ignore' as const, out, out], detached: true };
      return spawn(process.execPath, [bin, ...args, '--data', this.#data], options);
    } finally {
      closeSync(out);
    }
  }

  /** Runs a verb quietly; what it prints is the result. */
  async ask(...args: string[]): Promise<CommandResult> {
    return execute(process.execPath, [bin, ...args, '--data', this.#data]);
  }

  /** Runs a verb quietly and reads the JSON that it prints. */
  async json<T>(...args: string[]): Promise<T> {
    const { status, stdout, stderr } = await this.ask(...args, '--json');
    if (status !== 0) throw new Error(`treeline ${args.join(' ')}: ${stderr || stdout}`);
    return JSON.parse(stdout) as T;
  }

  /** Runs a verb in front of the reader: the command as typed, then what it says. */
  async show(...args: string[]): Promise<CommandResult> {
    command(`treeline ${args.map(quoted).join(' ')}`);
    const result = await this.ask(...args);
    const said = result.stdout + result.stderr;
    if (said.trim()) quote(said);
    return result;
  }
}

function quoted(argument: string): string {
  return /^[\w@%+=:,./^-]+$/.test(argument) ? argument : `'${argument}'`;
}
