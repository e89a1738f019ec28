import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { demand } from '../access/caller.ts';
import type { Core } from '../core.ts';
import { listArtifacts, readCommitInfo, readDiff } from '../reading/commits.ts';
import { type ApiEnvironment, createRoutes, demands, errors, json, Limit } from './routing.ts';
import { ArtifactList, CommitInfo, Diff, Name } from './schema.ts';

const Revision = z.string().min(1).max(512);

const artifacts = createRoute({
  method: 'get',
  path: '/artifacts',
  summary: 'Artifacts, newest first',
  ...demands('read'),
  request: { query: z.object({ project: Name.optional(), artifact: Name.optional(), limit: Limit }) },
  responses: { 200: json(ArtifactList, 'The artifacts'), ...errors },
});
const commit = createRoute({
  method: 'get',
  // A rev may hold slashes (project/artifact, refs): all that follows belongs to it.
  path: '/commits/{rev}',
  summary: 'What a commit is, and from which git revisions it was made',
  ...demands('read'),
  request: { params: z.object({ rev: Revision.openapi({ description: 'URL-encoded: %2F for each slash' }) }) },
  responses: { 200: json(CommitInfo, 'The commit'), ...errors },
});
const diff = createRoute({
  method: 'get',
  path: '/diff',
  summary: 'What changed between two commits, and what that costs to download',
  ...demands('read'),
  request: { query: z.object({ from: Revision, to: Revision }) },
  responses: { 200: json(Diff, 'The changes, by path'), ...errors },
});

export function commitRoutes(core: Core): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  app.openapi(artifacts, async (c) => c.json({ artifacts: await listArtifacts(core.db, c.req.valid('query')) }, 200));
  app.openapi(commit, async (c) => c.json(await readCommitInfo(core, c.req.valid('param').rev), 200));
  // The same with the slashes as they are.
  app.get('/commits/:rev{.+}', async (c) => {
    demand(c.get('caller'), 'read');
    return c.json(await readCommitInfo(core, Revision.parse(c.req.param('rev'))), 200);
  });
  app.openapi(diff, async (c) => c.json(await readDiff(core, c.req.valid('query')), 200));
  return app;
}
