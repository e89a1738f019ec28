import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Core } from '../core.ts';
import { readProjects } from '../reading/projects.ts';
import { runView } from '../reading/runs.ts';
import type { Sources } from '../sources/sources.ts';
import { type ApiEnvironment, body, createRoutes, demands, errors, json, optionalBody } from './routing.ts';
import { Name, Project, ProjectCreate, ProjectList, ProjectRun, Run } from './schema.ts';

const Params = z.object({ name: Name });

const list = createRoute({
  method: 'get',
  path: '/projects',
  summary: 'Projects: git repositories that are followed',
  ...demands('read'),
  responses: { 200: json(ProjectList, 'All projects, by name'), ...errors },
});
const add = createRoute({
  method: 'post',
  path: '/projects',
  summary: 'Follow a git repository; answers when its branch is known, the first fetch may go on',
  ...demands('administer'),
  request: { body: body(ProjectCreate, 'The repository') },
  responses: { 201: json(Project, 'The project'), ...errors },
});
const get = createRoute({
  method: 'get',
  path: '/projects/{name}',
  summary: 'One project',
  ...demands('read'),
  request: { params: Params },
  responses: { 200: json(Project, 'The project'), ...errors },
});
const remove = createRoute({
  method: 'delete',
  path: '/projects/{name}',
  summary: 'Stop following a repository; what was made of it stays',
  ...demands('administer'),
  request: { params: Params },
  responses: { 204: { description: 'Removed' }, ...errors },
});
const run = createRoute({
  method: 'post',
  path: '/projects/{name}/run',
  summary: 'Fetch now and run',
  ...demands('run'),
  request: { params: Params, body: optionalBody(ProjectRun, 'Which revision; default the newest') },
  responses: { 201: json(Run, 'The run'), ...errors },
});

export function projectRoutes(core: Core, sources: Sources): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  const one = async (name: string) => {
    const [project] = await readProjects(core.db, name);
    if (!project) await sources.find(name);
    return project!;
  };
  app.openapi(list, async (c) => c.json({ projects: await readProjects(core.db) }, 200));
  app.openapi(add, async (c) => {
    const project = await sources.add(c.req.valid('json'), c.get('caller'));
    return c.json(await one(project.name), 201);
  });
  app.openapi(get, async (c) => c.json(await one(c.req.valid('param').name), 200));
  app.openapi(remove, async (c) => {
    await sources.remove(c.req.valid('param').name, c.get('caller'));
    return c.body(null, 204);
  });
  app.openapi(run, async (c) => {
    const { revision } = c.req.valid('json') ?? {};
    const made = await sources.run(c.req.valid('param').name, { by: c.get('caller'), revision });
    return c.json(runView(made), 201);
  });
  return app;
}
