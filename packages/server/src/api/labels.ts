import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { readCommit } from '@treeline/ostree';
import type { Core } from '../core.ts';
import { type Labelled, removeLabel, setLabel, unadmitted } from '../labels/set.ts';
import { resolveCommit } from '../reading/commits.ts';
import { labelsOf, listLabels } from '../reading/labels.ts';
import { type ApiEnvironment, body, createRoutes, demands, errors, json, Limit } from './routing.ts';
import { LabelAnswer, LabelList, LabelRequest } from './schema.ts';

const list = createRoute({
  method: 'get',
  path: '/labels',
  summary: 'Labels that were put on projects, artifacts and commits, newest first',
  ...demands('read'),
  request: { query: z.object({ limit: Limit }) },
  responses: { 200: json(LabelList, 'The labels'), ...errors },
});
const set = createRoute({
  method: 'post',
  path: '/labels',
  summary: 'Put a label on a commit and its tree, on all of a project, or on all artifacts of a name',
  ...demands('label'),
  request: { body: body(LabelRequest, 'Which label, on what, and why') },
  responses: { 200: json(LabelAnswer, 'What it has now, and what is published in spite of it'), ...errors },
});
const remove = createRoute({
  method: 'post',
  path: '/labels/remove',
  summary: 'Take a label off',
  ...demands('label'),
  request: { body: body(LabelRequest, 'Which label, off what, and why') },
  responses: { 200: json(LabelAnswer, 'What it has now, and what is published in spite of it'), ...errors },
});

export function labelRoutes(core: Core): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  const labelledBy = async ({ commit, project, artifact }: LabelRequest): Promise<Labelled> => {
    if (commit === undefined) return { kind: 'name', name: project ?? artifact ?? '' };
    const found = await resolveCommit(core, commit);
    return { kind: 'commit', commit: found, tree: (await readCommit(core.store, found)).tree };
  };
  const answer = async (on: Labelled): Promise<LabelAnswer> => ({
    labelled: on.kind === 'commit' ? on.commit : on.name,
    labels: on.kind === 'commit' ? await labelsOf(core, on.commit) : [],
    unadmitted: await unadmitted(core),
  });
  app.openapi(list, async (c) => c.json({ labels: await listLabels(core.db, c.req.valid('query').limit) }, 200));
  app.openapi(set, async (c) => {
    const wish = c.req.valid('json');
    const on = await labelledBy(wish);
    await setLabel(core, on, { label: wish.label, reason: wish.reason, by: c.get('caller') });
    return c.json(await answer(on), 200);
  });
  app.openapi(remove, async (c) => {
    const wish = c.req.valid('json');
    const on = await labelledBy(wish);
    await removeLabel(core, on, { label: wish.label, reason: wish.reason, by: c.get('caller') });
    return c.json(await answer(on), 200);
  });
  return app;
}
