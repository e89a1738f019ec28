import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { createServer } from 'node:net';
import { AgentError, systemCode } from '../errors.ts';

/**
 * Lets one agent at a time work on a board. The lock is a socket in Linux's abstract namespace: the kernel takes it
 * away with the process, however that ends, so no stale lock can stop a board.
 *
 * @throws AgentError `busy`
 */
export async function lockBoard(dir: string): Promise<{ release(): Promise<void> }> {
  const name = createHash('sha256')
    .update(await realpath(dir))
    .digest('hex')
    .slice(0, 32);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        systemCode(error) === 'EADDRINUSE'
          ? new AgentError('busy', `another agent works on ${dir}`, { hint: 'Wait for it, or end it.' })
          : error,
      ),
    );
    server.listen(`\0treeline-agent-${name}`, resolve);
  });
  server.unref();
  return { release: () => new Promise((resolve) => server.close(() => resolve())) };
}
