import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { demand } from '../access/caller.ts';
import type { Core } from '../core.ts';
import { publishByHand } from '../publish/by-hand.ts';
import { readProvenance, resolveCommit } from '../reading/commits.ts';
import { channelHead, listReleases, releaseView } from '../reading/releases.ts';
import { type ApiEnvironment, body, createRoutes, demands, errors, json, Limit } from './routing.ts';
import { Name, PublishRequest, RefName, Release, ReleaseList } from './schema.ts';

const list = createRoute({
  method: 'get',
  path: '/releases',
  summary: 'Releases, newest first',
  ...demands('read'),
  request: { query: z.object({ repository: Name.optional(), channel: RefName.optional(), limit: Limit }) },
  responses: { 200: json(ReleaseList, 'The releases'), ...errors },
});
const publish = createRoute({
  method: 'post',
  path: '/publish',
  summary: 'Make a commit the release of a channel, by hand; also to take one back',
  ...demands('publish'),
  request: { body: body(PublishRequest, 'What and where') },
  responses: { 200: json(Release, 'The release; state publishing when it takes long'), ...errors },
});

export function releaseRoutes(core: Core): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  app.openapi(list, async (c) => c.json({ releases: await listReleases(core.db, c.req.valid('query')) }, 200));
  app.openapi(publish, async (c) => {
    const wish = c.req.valid('json');
    const { repository = 'public', reason = 'by hand' } = wish;
    const caller = c.get('caller');
    demand(caller, 'publish', `${repository}:${wish.channel}`);
    const commit = await resolveCommit(core, wish.commit);
    const provenance = await readProvenance(core, commit);
    const artifact = provenance ? `${provenance.project}/${provenance.artifact}` : null;
    const row = await publishByHand(core, { ...wish, commit, repository, reason, artifact, caller });
    const head = await channelHead(core.db, row.repository, row.channel);
    return c.json(releaseView(row, row.state === 'published' && head?.commit === row.commit), 200);
  });
  return app;
}
