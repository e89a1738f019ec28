import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import { makeKey } from '../publish/keys.ts';
import { repositoryViews } from '../reading/repositories.ts';
import { type ApiEnvironment, body, createRoutes, demands, errors, json } from './routing.ts';
import { MadeKey, Name, NewKey, Repository, RepositoryCreate, RepositoryList, RepositoryPatch } from './schema.ts';

const Params = z.object({ name: Name });

const list = createRoute({
  method: 'get',
  path: '/repositories',
  summary: 'The published repositories, their settings and what their channels hold',
  ...demands('read'),
  responses: { 200: json(RepositoryList, 'All repositories, by name'), ...errors },
});
const add = createRoute({
  method: 'post',
  path: '/repositories',
  summary: 'Make a published repository',
  ...demands('administer'),
  request: { body: body(RepositoryCreate, 'Its name and settings') },
  responses: { 201: json(Repository, 'The repository'), ...errors },
});
const get = createRoute({
  method: 'get',
  path: '/repositories/{name}',
  summary: 'One published repository',
  ...demands('read'),
  request: { params: Params },
  responses: { 200: json(Repository, 'The repository'), ...errors },
});
const set = createRoute({
  method: 'patch',
  path: '/repositories/{name}',
  summary: 'Change the settings of a repository; what is left out stays',
  ...demands('administer'),
  request: { params: Params, body: body(RepositoryPatch, 'What to change') },
  responses: { 200: json(Repository, 'The repository after the change'), ...errors },
});
const remove = createRoute({
  method: 'delete',
  path: '/repositories/{name}',
  summary: 'Remove a repository with all that is published in it; the store keeps everything',
  ...demands('administer'),
  request: { params: Params, query: z.object({ force: z.enum(['true', 'false']).optional() }) },
  responses: { 204: { description: 'Removed' }, ...errors },
});
const key = createRoute({
  method: 'post',
  path: '/signing-keys',
  summary: 'Make an ed25519 key that repositories can sign with',
  ...demands('administer'),
  request: { body: body(NewKey, 'Its name') },
  responses: { 201: json(MadeKey, 'The public key'), ...errors },
});

export function repositoryRoutes(core: Core): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  const { repositories } = core;
  const one = async (name: string): Promise<Repository> => {
    const found = repositories.find(name);
    if (!found) throw new ServerError('not-found', `there is no repository "${name}"`);
    return (await repositoryViews(core, [found]))[0]!;
  };
  app.openapi(list, async (c) => {
    return c.json({ repositories: await repositoryViews(core, repositories.list()) }, 200);
  });
  app.openapi(add, async (c) => {
    const { name, settings = {} } = c.req.valid('json');
    await repositories.add(name, settings, c.get('caller'));
    return c.json(await one(name), 201);
  });
  app.openapi(get, async (c) => {
    return c.json(await one(c.req.valid('param').name), 200);
  });
  app.openapi(set, async (c) => {
    const { name } = c.req.valid('param');
    await repositories.set(name, c.req.valid('json'), c.get('caller'));
    core.publishing.notify();
    return c.json(await one(name), 200);
  });
  app.openapi(remove, async (c) => {
    const force = c.req.valid('query').force === 'true';
    await repositories.remove(c.req.valid('param').name, c.get('caller'), { force });
    core.publishing.notify();
    return c.body(null, 204);
  });
  app.openapi(key, async (c) => {
    return c.json(await makeKey(core, c.req.valid('json').name, c.get('caller')), 201);
  });
  return app;
}
