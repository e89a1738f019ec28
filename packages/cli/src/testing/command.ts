import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const bin = fileURLToPath(new URL('../../bin/treeline.js', import.meta.url));

export type Ended = { code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string };

export type CommandOptions = {
  env?: Record<string, string>;
  cwd?: string;
  /** Called when the process was started. */
  started?: (kill: (signal: NodeJS.Signals) => void) => void;
  /** Closes the reading end of stdout at once, as `head` does. */
  closeStdout?: boolean;
  /** Called with all of stdout and stderr so far; what it does to the process is up to it. */
  onOutput?: (stdout: string, stderr: string, kill: (signal: NodeJS.Signals) => void) => void;
};

/** Runs the real command in a process of its own, with nothing of this machine's Treeline in its environment. */
export function treeline(args: string[], options: CommandOptions = {}): Promise<Ended> {
  const { PATH = '', HOME = '', TMPDIR = '' } = process.env;
  const child = spawn(process.execPath, [bin, ...args], {
    cwd: options.cwd,
    env: {
      ...{ PATH, HOME, TMPDIR, TREELINE_DATA: '/nonexistent/treeline', TREELINE_WORKSPACES: '/nonexistent/workspaces' },
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (options.closeStdout) child.stdout.destroy();
  let stdout = '';
  let stderr = '';
  const kill = (signal: NodeJS.Signals) => child.kill(signal);
  options.started?.(kill);
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    options.onOutput?.(stdout, stderr, kill);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    options.onOutput?.(stdout, stderr, kill);
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
