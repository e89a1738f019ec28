import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { AgentError, systemCode } from '../errors.ts';

export interface BoardLock {
  release(): Promise<void>;
}

/**
 * Lets one agent at a time work on a board. The lock is a socket in Linux's abstract namespace: the kernel takes it
 * away with the process, however that ends, so no stale lock can stop a board.
 *
 * @param onKnock somebody asks the agent to look now; anybody on the machine may
 * @throws AgentError `busy`
 */
export async function lockBoard(dir: string, onKnock: () => void = () => {}): Promise<BoardLock> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.destroy();
    onKnock();
  });
  const name = await socketName(dir);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        systemCode(error) === 'EADDRINUSE'
          ? new AgentError('busy', `another agent works on ${dir}`, { hint: 'Wait for it, or end it.' })
          : error,
      ),
    );
    server.listen(name, resolve);
  });
  server.unref();
  return { release: () => new Promise((resolve) => server.close(() => resolve())) };
}

/** Asks the agent that works on a board to look now. @returns false when there is none */
export async function knock(dir: string): Promise<boolean> {
  const name = await socketName(dir);
  return new Promise((resolve) => {
    const socket = connect(name);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function socketName(dir: string): Promise<string> {
  const hash = createHash('sha256').update(await realpath(dir));
  return `\0treeline-agent-${hash.digest('hex').slice(0, 32)}`;
}
