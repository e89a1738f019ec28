import { randomUUID } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '@treeline/ostree/fs/durable.ts';
import { z } from 'zod';

/** What a person wants of the agent of a board. */
const Request = z.object({
  /** Tells apart requests, so that one is taken up once, whatever is cut off. */
  id: z.string(),
  kind: z.enum(['rollback', 'pin', 'unpin']),
  why: z.string(),
});
export type Request = z.infer<typeof Request>;

const FILE = 'request.json';

/** Leaves a request for the agent. Who may write into its folder may ask. */
export async function leaveRequest(agentDir: string, request: Omit<Request, 'id'>): Promise<void> {
  const text = JSON.stringify({ id: randomUUID(), ...request });
  await writeFileDurably(join(agentDir, FILE), `${text}\n`, { mode: 0o600 });
}

/** The request that waits; null if there is none that can be understood. */
export async function readRequest(agentDir: string): Promise<Request | null> {
  const text = await readFile(join(agentDir, FILE), 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    return Request.parse(JSON.parse(text));
  } catch {
    await forgetRequest(agentDir);
    return null;
  }
}

export async function forgetRequest(agentDir: string): Promise<void> {
  await rm(join(agentDir, FILE), { force: true });
}
