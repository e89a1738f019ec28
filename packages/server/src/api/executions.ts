import { open } from 'node:fs/promises';
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import type { LogFiles } from '../executions/log-files.ts';
import { type ApiEnvironment, createRoutes, demands, errors } from './routing.ts';

const log = createRoute({
  method: 'get',
  path: '/executions/{id}/log',
  summary: "An execution's output; with follow=1 until it has ended",
  ...demands('read'),
  request: {
    params: z.object({ id: z.string().regex(/^x[0-9a-f]{16}$/, 'expected an execution id') }),
    query: z.object({
      follow: z.enum(['0', '1']).optional(),
      /** Byte to start with. */
      offset: z.coerce.number().int().min(0).default(0),
    }),
  },
  responses: {
    200: { description: 'The log', content: { 'text/plain': { schema: z.string() } } },
    ...errors,
  },
});

export function executionRoutes(core: Core, logs: LogFiles): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  app.openapi(log, async (c) => {
    const { id } = c.req.valid('param');
    const { follow, offset } = c.req.valid('query');
    if ((await stateOf(core, id)) === null) throw new ServerError('not-found', `there is no execution ${id}`);
    const signal = AbortSignal.any([c.req.raw.signal, core.signal]);
    const chunks = readLog(core, logs, { id, offset, follow: follow === '1', signal });
    return c.body(ReadableStream.from<Uint8Array>(chunks), 200, {
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    }) as never;
  });
  return app;
}

async function stateOf(core: Core, id: string): Promise<string | null> {
  const row = await core.db.selectFrom('executions').select('state').where('id', '=', id).executeTakeFirst();
  return row?.state ?? null;
}

const CHUNK = 64 * 1024;

async function* readLog(
  core: Core,
  logs: LogFiles,
  o: { id: string; offset: number; follow: boolean; signal: AbortSignal },
): AsyncGenerator<Uint8Array> {
  let position = o.offset;
  while (!o.signal.aborted) {
    const seen = logs.version(o.id);
    // Read before the log: what is written before the end is then seen.
    const ended = !o.follow || (await stateOf(core, o.id)) === 'done';
    const size = await logs.size(o.id);
    // A new lease has begun a new log.
    if (size < position && o.follow) position = 0;
    while (position < size && !o.signal.aborted) {
      const bytes = await readAt(logs.path(o.id), position);
      if (bytes.length === 0) break;
      position += bytes.length;
      yield bytes;
    }
    if (ended) return;
    await logs.wait(o.id, seen, o.signal);
  }
}

async function readAt(path: string, position: number): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(CHUNK), 0, CHUNK, position);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
