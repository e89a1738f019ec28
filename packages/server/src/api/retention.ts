import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { isChecksum } from '@treeline/ostree';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import { resolveCommit } from '../reading/commits.ts';
import { diskUseView, passView, pinViews, storePassView } from '../reading/retention.ts';
import { type MeasuredRepository, measureDiskUse } from '../retention/disk-use.ts';
import { findRepository, listPins, pin, unpin } from '../retention/pins.ts';
import type { Retention } from '../retention/retention.ts';
import { type ApiEnvironment, body, createRoutes, demands, errors, json, optionalBody } from './routing.ts';
import {
  Checksum,
  DiskUseAnswer,
  Name,
  Pin,
  PinList,
  PinRequest,
  PrunedRepository,
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
  path: '/repositories/{name}/prune',
  summary: 'Do now what retention does by and by for a repository; or only say what that is',
  ...demands('administer'),
  request: { params: z.object({ name: Name }), body: optionalBody(PruneRequest, 'How') },
  responses: { 200: json(PrunedRepository, 'What stays and why, and what went'), ...errors },
});
const pruneStore = createRoute({
  method: 'post',
  path: '/store/prune',
  summary: 'The same for the private store',
  ...demands('administer'),
  request: { body: optionalBody(PruneRequest, 'How') },
  responses: { 200: json(PrunedRepository, 'What nothing names, and what went'), ...errors },
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
    const repository = findRepository(core, c.req.valid('param').name);
    // Hono leaves the body unread when the request has no content type.
    const { dryRun = false } = c.req.valid('json') ?? {};
    const report = await retention.pass(repository, { caller, dryRun, thorough: true });
    return c.json(await passView(core.db, repository.name, report, dryRun), 200);
  });
  app.openapi(pruneStore, async (c) => {
    const caller = c.get('caller');
    const { dryRun = false } = c.req.valid('json') ?? {};
    return c.json(storePassView(await retention.passStore({ caller, dryRun, thorough: true }), dryRun), 200);
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
