import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import {
  BoardRequest,
  BoardView,
  CompleteRequest,
  HeartbeatRequest,
  HeartbeatResponse,
  LeaseRequest,
  LeaseResponse,
} from '@treeline/runner';
import type { Leases } from '../executions/leases.ts';
import type { Lab } from '../lab/lab.ts';
import { type ApiEnvironment, body, createRoutes, errors, json } from './routing.ts';

/** Held-open lease requests must be shorter than what proxies and clients bear. */
const MAX_WAIT_SECONDS = 60;

const Params = z.object({ id: z.string().min(1).max(64) });

const lease = createRoute({
  method: 'post',
  path: '/runner/lease',
  summary: 'Wait for a job (for runners)',
  security: [{ runner: [] }],
  request: { body: body(LeaseRequest, 'What the runner has') },
  responses: { 200: json(LeaseResponse, 'A job'), 204: { description: 'None within waitSeconds' }, ...errors },
});
const heartbeat = createRoute({
  method: 'post',
  path: '/runner/executions/{id}/heartbeat',
  summary: 'Keep a lease, send a piece of log (for runners)',
  security: [{ runner: [] }],
  request: { params: Params, body: body(HeartbeatRequest, 'The beat') },
  responses: { 200: json(HeartbeatResponse, 'Whether to stop'), ...errors },
});
const complete = createRoute({
  method: 'post',
  path: '/runner/executions/{id}/complete',
  summary: 'End a lease (for runners)',
  security: [{ runner: [] }],
  request: { params: Params, body: body(CompleteRequest, 'The result') },
  responses: { 200: json(z.object({}), 'Taken'), ...errors },
});

const board = createRoute({
  method: 'post',
  path: '/runner/executions/{id}/board',
  summary: 'Look at the device of a board job, let it run another commit (for runners)',
  security: [{ runner: [] }],
  request: { params: Params, body: body(BoardRequest, 'The lease, and what it should run') },
  responses: { 200: json(BoardView, 'What the server knows of the device'), ...errors },
});

export function runnerRoutes(leases: Leases, lab: Pick<Lab, 'look'>): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  app.openapi(lease, async (c) => {
    const { runner, waitSeconds } = c.req.valid('json');
    const caller = c.get('caller');
    const found = await leases.lease(runner, {
      session: caller.session,
      waitSeconds: Math.min(waitSeconds, MAX_WAIT_SECONDS),
      signal: c.req.raw.signal,
    });
    return found ? c.json({ lease: found }, 200) : c.body(null, 204);
  });
  app.openapi(heartbeat, async (c) =>
    c.json(await leases.heartbeat(c.req.valid('param').id, c.req.valid('json')), 200),
  );
  app.openapi(board, async (c) => {
    const { token, target } = c.req.valid('json');
    const execution = await leases.boardLease(c.req.valid('param').id, token);
    return c.json(await lab.look(execution, target), 200);
  });
  app.openapi(complete, async (c) => {
    const { token, result } = c.req.valid('json');
    await leases.complete(c.req.valid('param').id, token, result);
    return c.json({}, 200);
  });
  return app;
}
