import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { type Caller, demand } from '../access/caller.ts';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import { type HandWish, publishByHand, readPublication } from '../publish/by-hand.ts';
import { cancelPublication } from '../publish/cancel.ts';
import { revertItems } from '../publish/revert.ts';
import type { ReleaseRow } from '../publish/tables.ts';
import { readProvenance, resolveCommit } from '../reading/commits.ts';
import { listReleases, publicationView, releaseViews } from '../reading/releases.ts';
import { type ApiEnvironment, body, createRoutes, demands, errors, json, Limit } from './routing.ts';
import {
  Name,
  Publication,
  PublishRequest,
  RefName,
  Release,
  ReleaseDetail,
  ReleaseList,
  RevertRequest,
} from './schema.ts';

const Params = z.object({ number: z.coerce.number().int().positive() });

const list = createRoute({
  method: 'get',
  path: '/releases',
  summary: 'Releases, newest first',
  ...demands('read'),
  request: { query: z.object({ repository: Name.optional(), channel: RefName.optional(), limit: Limit }) },
  responses: { 200: json(ReleaseList, 'The releases'), ...errors },
});
const get = createRoute({
  method: 'get',
  path: '/releases/{number}',
  summary: 'One release: who published it when, which keys signed it, which deltas it has, with what it became visible',
  ...demands('read'),
  request: { params: Params },
  responses: { 200: json(ReleaseDetail, 'The release'), ...errors },
});
const publish = createRoute({
  method: 'post',
  path: '/publish',
  summary: 'Make a commit the release of a channel by hand, or several at once, all or none',
  ...demands('publish'),
  request: { body: body(PublishRequest, 'What and where') },
  responses: {
    200: json(
      z.union([Release, Publication]),
      'The release, or for `items` the publication; state publishing when it takes long',
    ),
    ...errors,
  },
});
const revert = createRoute({
  method: 'post',
  path: '/releases/revert',
  summary: 'Give channels back what they had before: new releases of the old commits',
  ...demands('publish'),
  request: { body: body(RevertRequest, 'Which channels') },
  responses: { 200: json(Publication, 'The publication; state publishing when it takes long'), ...errors },
});
const cancel = createRoute({
  method: 'post',
  path: '/releases/{number}/cancel',
  summary: 'Give up a release that is being published, with all that belongs to the same publication',
  ...demands('publish'),
  request: { params: Params },
  responses: { 200: json(ReleaseDetail, 'The release'), ...errors },
});

export function releaseRoutes(core: Core): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  const detail = async (number: number): Promise<ReleaseDetail> => {
    const row = await findRelease(core, number);
    const [release] = await releaseViews(core.db, [row]);
    const publication = await publicationView(core.db, await readPublication(core, row.publication ?? number));
    return { release: release!, publication };
  };
  const byHand = async (caller: Caller, wish: Omit<HandWish, 'by'>): Promise<Publication> => {
    for (const { channel } of wish.items) demand(caller, 'publish', `${wish.repository}:${channel}`);
    return await publicationView(core.db, await publishByHand(core, { ...wish, by: caller }));
  };

  app.openapi(list, async (c) => c.json({ releases: await listReleases(core.db, c.req.valid('query')) }, 200));
  app.openapi(get, async (c) => c.json(await detail(c.req.valid('param').number), 200));
  app.openapi(publish, async (c) => {
    const { repository = 'public', reason = 'by hand', items, rebind, ...single } = c.req.valid('json');
    const { commit = '', channel = '', expect } = single;
    const wished = items ?? [{ commit, channel, ...(expect === undefined ? {} : { expect }) }];
    const resolved = [];
    for (const item of wished) {
      demand(c.get('caller'), 'publish', `${repository}:${item.channel}`);
      const found = await resolveCommit(core, item.commit);
      const provenance = await readProvenance(core, found);
      const artifact = provenance ? `${provenance.project}/${provenance.artifact}` : null;
      resolved.push({ ...item, commit: found, artifact });
    }
    const publication = await byHand(c.get('caller'), { repository, items: resolved, reason, rebind });
    return c.json(items ? publication : publication.releases[0]!, 200);
  });
  app.openapi(revert, async (c) => {
    const { repository = 'public', channels, to, reason } = c.req.valid('json');
    for (const channel of channels) demand(c.get('caller'), 'publish', `${repository}:${channel}`);
    const items = await revertItems(core, { repository, channels, to });
    const wish = { repository, items, reason: reason ?? (to === undefined ? 'revert' : `revert to release ${to}`) };
    return c.json(await byHand(c.get('caller'), wish), 200);
  });
  app.openapi(cancel, async (c) => {
    const { number } = c.req.valid('param');
    const row = await findRelease(core, number);
    const { releases } = await readPublication(core, row.publication ?? number);
    for (const { repository, channel } of releases) demand(c.get('caller'), 'publish', `${repository}:${channel}`);
    await cancelPublication(core, row, c.get('caller'));
    return c.json(await detail(number), 200);
  });
  return app;
}

async function findRelease(core: Core, number: number): Promise<ReleaseRow> {
  const row = await core.db.selectFrom('releases').selectAll().where('number', '=', number).executeTakeFirst();
  if (row) return row;
  throw new ServerError('not-found', `there is no release ${number}`, {
    hint: 'Those that there are: treeline release list',
  });
}
