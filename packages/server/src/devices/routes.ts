import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { type ApiEnvironment, body, createRoutes, demands, errors, json, optionalBody } from '../api/routing.ts';
import type { Provenance } from '../api/schema.ts';
import { ServerError } from '../errors.ts';
import { isLabDevice } from '../lab/id.ts';
import type { Pointers } from './pointers.ts';
import type { Registry } from './registry.ts';
import { Device, DeviceDetail, DeviceList, DevicePatch, EnrolmentToken, EnrolmentTokenRequest } from './schema.ts';
import type { DeviceRow } from './tables.ts';
import { deviceView, eventView } from './view.ts';

export interface DeviceRoutesDeps {
  registry: Registry;
  pointers: Pointers;
  /** What a commit was made from, or null when it is not one of ours. */
  provenance(commit: string): Promise<Provenance | null>;
  /** The running gateway: where devices go, and the pin that proves it to them. Null while it is not up. */
  gateway(): { url: string; fingerprint: string } | null;
  /** ms without a word after which a device counts as silent. Default 15 minutes. */
  silentAfter?: number;
  now?: () => number;
}

const SILENT_AFTER = 15 * 60 * 1000;
const EVENTS_SHOWN = 100;

const Id = z.object({ id: z.string().min(1).max(64) });

const listRoute = createRoute({
  method: 'get',
  path: '/devices',
  summary: 'Devices: what each runs, should run, and says of itself',
  ...demands('read'),
  request: { query: z.object({ lab: z.enum(['0', '1']).optional() }) },
  responses: {
    200: json(DeviceList, 'The devices of the fleet, by id; with lab=1 those of board jobs instead'),
    ...errors,
  },
});
const getRoute = createRoute({
  method: 'get',
  path: '/devices/{id}',
  summary: 'One device with its last events and its inventory',
  ...demands('read'),
  request: { params: Id },
  responses: { 200: json(DeviceDetail, 'The device'), ...errors },
});
const patchRoute = createRoute({
  method: 'patch',
  path: '/devices/{id}',
  summary: 'Accept a device, change what it follows, allow a new key, forgive a release',
  ...demands('operate'),
  request: { params: Id, body: body(DevicePatch, 'What to change') },
  responses: { 200: json(Device, 'The device after the change'), ...errors },
});
const removeRoute = createRoute({
  method: 'delete',
  path: '/devices/{id}',
  summary: 'Forget a device; its certificate then counts as that of an unknown one',
  ...demands('operate'),
  request: { params: Id },
  responses: { 204: { description: 'Forgotten' }, ...errors },
});
const tokenRoute = createRoute({
  method: 'post',
  path: '/enrolment-tokens',
  summary: 'A token that lets devices in',
  ...demands('operate'),
  request: { body: optionalBody(EnrolmentTokenRequest, 'Limits of the token') },
  responses: { 201: json(EnrolmentToken, 'The token: shown only now'), ...errors },
});

/** REST routes of devices and their enrolment. */
export function deviceRoutes(deps: DeviceRoutesDeps): OpenAPIHono<ApiEnvironment> {
  const { registry } = deps;
  const now = deps.now ?? Date.now;
  const app = createRoutes();

  const target = async (row: DeviceRow) => {
    const pointer = await deps.pointers.offered(row.id);
    if (pointer !== null) return pointer.commit;
    return row.channel === null ? row.offered_commit : registry.offer(row, row.channel);
  };
  const view = async (row: DeviceRow) =>
    deviceView({
      row,
      bad: await registry.badReleases(row.id),
      target: await target(row),
      pointer: await deps.pointers.find(row.id),
      provenance: row.current_commit === null ? null : await deps.provenance(row.current_commit),
      now: now(),
      silentAfter: deps.silentAfter ?? SILENT_AFTER,
    });
  const found = async (id: string): Promise<DeviceRow> => {
    const row = await registry.get(id);
    if (row !== null) return row;
    throw new ServerError('not-found', `there is no device "${id}"`, { hint: 'See all with: treeline devices' });
  };

  app.openapi(listRoute, async (c) => {
    const devices: Device[] = [];
    const { lab } = c.req.valid('query');
    for (const row of await registry.list()) {
      if (isLabDevice(row.id) === (lab === '1')) devices.push(await view(row));
    }
    return c.json({ devices }, 200);
  });
  app.openapi(getRoute, async (c) => {
    const row = await found(c.req.valid('param').id);
    const events = (await registry.recentEvents(row.id, EVENTS_SHOWN)).map(eventView);
    const inventory = Object.fromEntries(
      Object.entries(await registry.inventory(row.id)).map(([kind, body]) => [kind, parsedOrText(body)]),
    );
    return c.json({ ...(await view(row)), events, inventory }, 200);
  });
  app.openapi(patchRoute, async (c) => {
    const { id } = c.req.valid('param');
    await found(id);
    await registry.patch(id, c.req.valid('json'), c.get('caller'));
    return c.json(await view(await found(id)), 200);
  });
  app.openapi(removeRoute, async (c) => {
    const { id } = c.req.valid('param');
    await found(id);
    await registry.remove(id, c.get('caller'));
    return c.body(null, 204);
  });
  app.openapi(tokenRoute, async (c) => {
    const gateway = deps.gateway();
    if (gateway === null) throw new ServerError('unavailable', 'the device gateway is not running');
    // Hono leaves the body unread when the request has no content type: then all limits are the defaults.
    const made = await registry.createToken(c.req.valid('json') ?? {}, c.get('caller'));
    return c.json(
      {
        token: `${made.secret}.${gateway.fingerprint}`,
        gateway: gateway.url,
        expiresAt: new Date(made.expiresAt).toISOString(),
        uses: made.uses,
        channel: made.channel,
        repository: made.repository,
      },
      201,
    );
  });
  return app;
}

function parsedOrText(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
