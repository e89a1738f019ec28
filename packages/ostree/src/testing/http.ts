import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export type Answer = (req: IncomingMessage, res: ServerResponse, path: string) => void | Promise<void>;

/** Starts a server that goes away with the test. */
export async function startServer(t: TestContext, answer: Answer): Promise<string> {
  const server = createServer((req, res) => void answer(req, res, req.url ?? '/'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Answers with the files of a folder and nothing else: no ranges, no entity tags. As simple as hosting gets. */
export function plainFiles(folder: string): Answer {
  return async (_req, res, path) => {
    const data = await readFile(join(folder, decodeURIComponent(path))).catch(() => null);
    if (data) res.writeHead(200, { 'content-length': data.length }).end(data);
    else res.writeHead(404).end('not found');
  };
}
