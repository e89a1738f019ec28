import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { type ApiEnvironment, createRoutes, demands, errors, json } from '../api/routing.ts';
import type { Differences } from './differences.ts';
import { DeviceDifference } from './schema.ts';

const Id = z.object({ id: z.string().min(1).max(64) });

const ask = createRoute({
  method: 'post',
  path: '/devices/{id}/difference',
  summary: 'Ask a device what was changed on it by hand; it answers when it next looks',
  ...demands('operate'),
  request: { params: Id },
  responses: { 202: json(DeviceDifference, 'It is asked'), ...errors },
});
const read = createRoute({
  method: 'get',
  path: '/devices/{id}/difference',
  summary: 'What a device said was changed on it by hand, with the files',
  // Files of a device are more than what a release shows.
  ...demands('operate'),
  request: { params: Id },
  responses: { 200: json(DeviceDifference, 'The answer, or that there is none yet'), ...errors },
});

export function differenceRoutes(differences: Differences): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  app.openapi(ask, async (c) => c.json(await differences.ask(c.req.valid('param').id, c.get('caller')), 202));
  app.openapi(read, async (c) => c.json(await differences.read(c.req.valid('param').id), 200));
  return app;
}
