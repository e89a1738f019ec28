import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Core } from '../core.ts';
import { channelHeads } from '../reading/releases.ts';
import { runnerStates, runnerView } from '../reading/runners.ts';
import { time } from '../reading/time.ts';
import type { RunnerProcess } from '../runner-process/runner-process.ts';
import { VERSION } from '../version.ts';
import { type ApiEnvironment, createRoutes, demands, errors, json } from './routing.ts';
import { RunnerList, Status } from './schema.ts';

const health = createRoute({
  method: 'get',
  path: '/health',
  summary: 'Whether the server answers and its database does; needs no token',
  security: [],
  responses: { 200: json(z.object({ status: z.literal('ok') }), 'It does'), ...errors },
});
const status = createRoute({
  method: 'get',
  path: '/status',
  summary: 'The server in a few numbers',
  ...demands('read'),
  responses: { 200: json(Status, 'The status'), ...errors },
});
const runners = createRoute({
  method: 'get',
  path: '/runners',
  summary: 'Runners: what each offers, what it emulates, what it does',
  ...demands('read'),
  responses: { 200: json(RunnerList, 'All runners, by name'), ...errors },
});

export interface StatusDeps {
  core: Core;
  runner: RunnerProcess;
  /** ms */
  startedAt: number;
  urls: () => { url: string; gatewayUrl: string | null };
}

export function statusRoutes({ core, runner, startedAt, urls }: StatusDeps): OpenAPIHono<ApiEnvironment> {
  const { db } = core;
  const app = createRoutes();
  app.openapi(health, async (c) => {
    await db.selectFrom('counters').select('name').limit(1).execute();
    return c.json({ status: 'ok' as const }, 200);
  });
  app.openapi(status, async (c) => {
    const { url, gatewayUrl } = urls();
    const states = await runnerStates(db);
    const executions = await db
      .selectFrom('executions')
      .select(['state', (eb) => eb.fn.countAll<number>().as('count')])
      .where('state', '!=', 'done')
      .groupBy('state')
      .execute();
    const runs = await db
      .selectFrom('runs')
      .select(['state', (eb) => eb.fn.countAll<number>().as('count')])
      .groupBy('state')
      .execute();
    const projects = await db
      .selectFrom('projects')
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .executeTakeFirst();
    const count = (rows: { state: string; count: number }[], state: string) =>
      Number(rows.find((row) => row.state === state)?.count ?? 0);
    const heads = await channelHeads(db);
    return c.json(
      {
        version: VERSION,
        url,
        gatewayUrl,
        dataDir: core.folder.path,
        startedAt: time(startedAt),
        projects: Number(projects?.count ?? 0),
        runs: { running: count(runs, 'running'), total: runs.reduce((sum, row) => sum + Number(row.count), 0) },
        executions: { queued: count(executions, 'queued'), leased: count(executions, 'leased') },
        runners: { online: states.filter((state) => state.online).length, total: states.length },
        channels: heads.map((head) => ({
          ...head,
          publishedAt: time(head.publishedAt),
          url: `${url}/repos/${head.repository}`,
        })),
        lastEventId: await core.events.lastId(),
      },
      200,
    );
  });
  app.openapi(runners, async (c) =>
    c.json({ runners: (await runnerStates(db)).map(runnerView), embedded: runner.state() }, 200),
  );
  return app;
}
