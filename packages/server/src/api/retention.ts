import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { isChecksum } from '@treeline/ostree';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import { resolveCommit } from '../reading/commits.ts';
import { diskUseView, passView, pinViews, storePassView } from '../reading/retention.ts';
import { type MeasuredRepository, measureDiskUse } from '../retention/disk-use.ts';
import { findRepository, listPins, pin, unpin } from '../retention/pins.ts';
import type { Retention } from '../retention/retention.ts';
import { type ApiEnvironment, body, createRoutes, demands, errors, json } from './routing.ts';
import {
  Checksum,
  DiskUseAnswer,
  Name,
  Pin,
  PinList,
  PinRequest,
  PruneAnswer,
  type PrunedRepository,
  PruneRequest,
  RefName,
} from './schema.ts';

const pinList = createRoute({
  method: 'get',
  path: '/pins',
  summary: 'Commits that stay whatever retention says: who wanted that, and why',
  ...demands('read'),
  request: { query: z.object({ repository: Name.optional() }) },
  responses: { 200: json(PinList, 'The pins, newest first'), ...errors },
});
const pinAdd = createRoute({
  method: 'post',
  path: '/pins',
  summary: 'Pin a commit, in one repository or wherever it is',
  ...demands('administer'),
  request: { body: body(PinRequest, 'What, where and why') },
  responses: { 200: json(Pin, 'The pin'), ...errors },
});
const pinRemove = createRoute({
  method: 'delete',
  path: '/pins/{commit}',
  summary: 'Take a pin back',
  ...demands('administer'),
  request: { params: z.object({ commit: Checksum }), query: z.object({ repository: Name.optional() }) },
  responses: { 204: { description: 'Taken back' }, ...errors },
});
const prune = createRoute({
  method: 'post',
  path: '/prune',
  summary: 'Do now what retention does by and by; or only say what that is',
  ...demands('administer'),
  request: { body: body(PruneRequest, 'Where; default: every repository and the store') },
  responses: { 200: json(PruneAnswer, 'What stays and why, and what went'), ...errors },
});
const use = createRoute({
  method: 'get',
  path: '/disk-use',
  summary: 'What repositories, refs and releases take on the disk, alone and together',
  ...demands('read'),
  request: { query: z.object({ repository: Name.optional(), channel: RefName.optional() }) },
  responses: { 200: json(DiskUseAnswer, 'What they take'), ...errors },
});

export function retentionRoutes(core: Core, retention: Retention): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  app.openapi(pinList, async (c) => {
    const rows = await listPins(core.db, c.req.valid('query').repository);
    return c.json({ pins: await pinViews(core.db, rows) }, 200);
  });
  app.openapi(pinAdd, async (c) => {
    const caller = c.get('caller');
    const { commit: text, repository = null, reason = 'by hand' } = c.req.valid('json');
    // A repository may have what the store has not any more.
    const commit = isChecksum(text) ? text : await resolveCommit(core, text);
    const row = await pin(core, { commit, repository }, { reason, by: caller });
    return c.json((await pinViews(core.db, [row]))[0]!, 200);
  });
  app.openapi(pinRemove, async (c) => {
    const { repository = null } = c.req.valid('query');
    await unpin(core, { commit: c.req.valid('param').commit, repository }, c.get('caller'));
    return c.body(null, 204);
  });
  app.openapi(prune, async (c) => {
    const caller = c.get('caller');
    const { repository, store = false, dryRun = false } = c.req.valid('json');
    if (repository !== undefined && store) {
      throw new ServerError('invalid-request', 'name a repository or the store, not both');
    }
    const o = { caller, dryRun, thorough: true };
    const repositories: PrunedRepository[] = [];
    const named = repository === undefined ? core.repositories.list() : [findRepository(core, repository)];
    for (const one of store ? [] : named) {
      repositories.push(await passView(core.db, one.name, await retention.pass(one, o), dryRun));
    }
    if (repository === undefined) repositories.push(storePassView(await retention.passStore(o), dryRun));
    return c.json({ repositories }, 200);
  });

  let measuring: Promise<unknown> = Promise.resolve();
  app.openapi(use, async (c) => {
    const { repository, channel } = c.req.valid('query');
    if (channel !== undefined && repository === undefined) {
      throw new ServerError('invalid-request', 'a channel is one of a repository: name it, too');
    }
    const only = repository === undefined ? undefined : findRepository(core, repository);
    // One after the other: each reads the sizes of all files.
    const mine: Promise<MeasuredRepository[]> = measuring.then(() => measureDiskUse(core, only));
    measuring = mine.catch(() => {});
    const answer = diskUseView(await mine, channel);
    if (channel !== undefined && answer.repositories[0]!.refs.length === 0) {
      throw new ServerError('not-found', `repository ${repository} has no channel ${channel}`);
    }
    return c.json(answer, 200);
  });
  return app;
}
