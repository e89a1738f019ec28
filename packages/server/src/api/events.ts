import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { type SSEStreamingApi, streamSSE } from 'hono/streaming';
import type { Caller } from '../access/caller.ts';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import { time } from '../reading/time.ts';
import { type ApiEnvironment, createRoutes, demands, errors } from './routing.ts';

/** A comment line this often keeps proxies from closing a quiet stream, and finds out who is gone. */
const KEEP_ALIVE_MS = 15_000;

/** Events read at once. */
const BATCH = 500;

const follow = createRoute({
  method: 'get',
  path: '/events',
  summary: 'What happens, as server-sent events; Last-Event-ID (or ?since=) continues where a reader stopped',
  ...demands('read'),
  request: {
    query: z.object({
      /** Id of the last event seen; 0 = from the beginning. Default: only what happens from now on. */
      since: z.string().optional(),
      /** Only types with this prefix, e.g. `run.`; may be a comma list. */
      types: z.string().max(500).optional(),
    }),
  },
  responses: {
    200: { description: 'The stream', content: { 'text/event-stream': { schema: z.string() } } },
    ...errors,
  },
});

export function eventRoutes(core: Core): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  app.openapi(follow, async (c) => {
    const { since, types } = c.req.valid('query');
    const start = await startOf(core, c.req.header('last-event-id') ?? since);
    const prefixes = types === undefined ? null : types.split(',').filter((prefix) => prefix !== '');
    const caller = c.get('caller');
    c.header('x-accel-buffering', 'no');
    return streamSSE(c, (stream) => pump(core, stream, { start, prefixes, caller, signal: c.req.raw.signal }));
  });
  return app;
}

async function startOf(core: Core, text: string | undefined): Promise<number> {
  if (text === undefined) return await core.events.lastId();
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new ServerError('invalid-request', 'Last-Event-ID is not the id of an event', {
    hint: 'Give a number, 0 for everything, or nothing for what happens from now on.',
  });
}

async function pump(
  core: Core,
  stream: SSEStreamingApi,
  o: { start: number; prefixes: readonly string[] | null; caller: Caller; signal: AbortSignal },
): Promise<void> {
  const gone = new AbortController();
  stream.onAbort(() => gone.abort());
  const signal = AbortSignal.any([gone.signal, o.signal, core.signal]);
  let last = o.start;
  let spoke = Date.now();
  // The headers go out with the first byte: a reader must know that it is connected.
  await stream.write(': connected\n\n');
  // A stream ends with the token that it was opened with.
  while (!signal.aborted && o.caller.may('read')) {
    const version = core.events.version;
    const news = await core.events.since(last, BATCH);
    for (const event of news) {
      last = event.id;
      if (o.prefixes && !o.prefixes.some((prefix) => event.type.startsWith(prefix))) continue;
      const { id, type, at, data } = event;
      await stream.writeSSE({ id: String(id), event: type, data: JSON.stringify({ id, type, at: time(at), data }) });
      spoke = Date.now();
      if (signal.aborted) return;
    }
    if (Date.now() - spoke > KEEP_ALIVE_MS) {
      await stream.write(':\n\n');
      spoke = Date.now();
    }
    if (news.length < BATCH) await core.events.wait(version, signal);
  }
}
