import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { firstLine } from './first-line.ts';

/** Python's web server on a folder, as plain as they come; gone with the test. Returns its address. */
export async function pythonServer(t: Pick<TestContext, 'after'>, folder: string): Promise<string> {
  const args = ['-u', '-m', 'http.server', '0', '--bind', '127.0.0.1', '--directory', folder];
  const child = spawn('python3', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(child, 'exit');
  t.after(async () => {
    child.kill();
    await ended;
  });
  const port = /port (\d+)/.exec(await firstLine(child))![1]!;
  return `http://127.0.0.1:${port}`;
}
