import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Core } from '../core.ts';
import { findRun, listRuns, readRun, runView } from '../reading/runs.ts';
import { createRun } from '../runs/create.ts';
import { cancelRun } from '../runs/supersede.ts';
import { type ApiEnvironment, createRoutes, demands, errors, json, Limit, optionalBody } from './routing.ts';
import { Name, Run, RunCreate, RunDetail, RunList } from './schema.ts';

const Params = z.object({ id: z.string().min(1).max(64) });

const list = createRoute({
  method: 'get',
  path: '/runs',
  summary: 'Runs, newest first',
  ...demands('read'),
  request: { query: z.object({ limit: Limit, project: Name.optional() }) },
  responses: { 200: json(RunList, 'The runs'), ...errors },
});
const create = createRoute({
  method: 'post',
  path: '/runs',
  summary: 'Run the newest revisions of all projects',
  ...demands('run'),
  request: { body: optionalBody(RunCreate, 'Why') },
  responses: { 201: json(Run, 'The run'), ...errors },
});
const get = createRoute({
  method: 'get',
  path: '/runs/{id}',
  summary: 'One run: its jobs, why they were not reused, what they wait for, what is published. Also: latest',
  ...demands('read'),
  request: { params: Params },
  responses: { 200: json(RunDetail, 'The run'), ...errors },
});
const cancel = createRoute({
  method: 'post',
  path: '/runs/{id}/cancel',
  summary: 'End a run; work that another run wants goes on',
  ...demands('run'),
  request: { params: Params },
  responses: { 200: json(Run, 'The run'), ...errors },
});

export function runRoutes(core: Core): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  app.openapi(list, async (c) => c.json({ runs: await listRuns(core.db, c.req.valid('query')) }, 200));
  app.openapi(create, async (c) => {
    const { reason = 'by hand' } = c.req.valid('json') ?? {};
    const run = await core.db.transaction().execute(async (trx) => {
      const made = await createRun(trx, core.events, { reason });
      const entry = { caller: c.get('caller'), action: 'run.create', subject: made.id, data: { reason } };
      await core.audit.record(entry, trx);
      return made;
    });
    core.runs.notify();
    return c.json(runView(run), 201);
  });
  app.openapi(get, async (c) => c.json(await readRun(core.db, c.req.valid('param').id), 200));
  app.openapi(cancel, async (c) => {
    const { id } = await findRun(core.db, c.req.valid('param').id);
    await cancelRun(core, id, c.get('caller'));
    const { jobs: _, publishes: __, manifest: ___, ...run } = await readRun(core.db, id);
    return c.json(run, 200);
  });
  return app;
}
