import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { type ApiEnvironment, body, createRoutes, demands, errors, json } from '../api/routing.ts';
import type { Pointers } from './pointers.ts';
import { DevicePointer, PointRequest } from './schema.ts';
import { pointerView } from './view.ts';

const Id = z.object({ id: z.string().min(1).max(64) });

const point = createRoute({
  method: 'put',
  path: '/devices/{id}/pointer',
  summary: 'Point a device at a commit in the repository of a developer, for a while',
  ...demands('operate'),
  request: { params: Id, body: body(PointRequest, 'Where, what, and for how long') },
  responses: { 200: json(DevicePointer, 'Where it is pointed now'), ...errors },
});
const back = createRoute({
  method: 'delete',
  path: '/devices/{id}/pointer',
  summary: 'Send a device back to the release of its channel',
  ...demands('operate'),
  request: { params: Id },
  responses: { 204: { description: 'It follows its channel' }, ...errors },
});

/** REST routes of pointing devices, below `/api/v1`. */
export function pointerRoutes(pointers: Pointers): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  app.openapi(point, async (c) => {
    const caller = c.get('caller');
    const { id } = c.req.valid('param');
    return c.json(pointerView(await pointers.point(id, c.req.valid('json'), caller)), 200);
  });
  app.openapi(back, async (c) => {
    const caller = c.get('caller');
    const { id } = c.req.valid('param');
    await pointers.back(id, caller);
    return c.body(null, 204);
  });
  return app;
}
