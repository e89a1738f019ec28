import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseEvents } from '../devices/events.ts';
import { StateReport } from '../devices/schema.ts';
import type { DeviceRow } from '../devices/tables.ts';
import { pointerView } from '../devices/view.ts';
import { DifferenceAnswer } from '../differences/schema.ts';
import { GatewayRefusal, readBody, readJson, sendEmpty, sendJson } from './exchange.ts';
import type { GatewayDeps } from './gateway.ts';

type Handle = (deps: GatewayDeps, device: DeviceRow, req: IncomingMessage, res: ServerResponse) => Promise<void>;

/** `PUT /device/state`: what the device says of itself. */
const putState: Handle = async (deps, device, req, res) => {
  const parsed = StateReport.safeParse(await readJson(req));
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`);
    throw new GatewayRefusal(400, 'invalid-request', `the state report is not valid: ${issues.join('; ')}`);
  }
  await deps.registry.report(device.id, parsed.data);
  sendEmpty(res);
};

/** `POST /events`: never fails for a malformed element, only for a body that is no array. */
const postEvents: Handle = async (deps, device, req, res) => {
  const body = await readJson(req);
  if (!Array.isArray(body)) throw new GatewayRefusal(400, 'invalid-request', 'events are sent as a JSON array');
  const { events, malformed } = parseEvents(body);
  if (malformed > 0) deps.log.warn({ device: device.id, malformed }, 'skipped malformed events');
  await deps.registry.addEvents(device.id, events);
  sendEmpty(res);
};

const putJson =
  (kind: string): Handle =>
  async (deps, device, req, res) => {
    const body = await readJson(req);
    await deps.registry.putInventory(device.id, kind, JSON.stringify(body));
    sendEmpty(res);
  };

const putText =
  (kind: string): Handle =>
  async (deps, device, req, res) => {
    await deps.registry.putInventory(device.id, kind, await readBody(req));
    sendEmpty(res);
  };

/** Files of a device, which it sends only when it was asked for them. */
const DIFFERENCE_LIMIT = 8 * 1024 ** 2;

/** `PUT /device/difference`: what was changed on the device by hand. */
const putDifference: Handle = async (deps, device, req, res) => {
  const request = await deps.differences.waiting(device.id);
  if (request === null) throw new GatewayRefusal(404, 'not-found', 'nobody has asked for that');
  const parsed = DifferenceAnswer.safeParse(await readJson(req, DIFFERENCE_LIMIT));
  if (!parsed.success) throw new GatewayRefusal(400, 'invalid-request', 'the difference is not valid');
  await deps.differences.answer(device.id, parsed.data);
  sendEmpty(res);
};

/** `GET /device`: what the server knows of the device. */
const getDevice: Handle = async (deps, device, _req, res) => {
  const bad = await deps.registry.badReleases(device.id);
  const lab = await deps.lab.find(device.id);
  const pointer = device.accepted === 0 || lab !== null ? null : await deps.pointers.offered(device.id);
  const released =
    device.channel === null || device.accepted === 0 || lab !== null
      ? null
      : await deps.registry.offer(device, device.channel);
  sendJson(res, 200, {
    id: device.id,
    accepted: device.accepted === 1,
    channel: device.channel,
    repository: device.repository,
    hardwareId: device.hardware_id,
    state: device.state === '' ? null : device.state,
    current: device.current_commit,
    target: lab?.target ?? pointer?.commit ?? released,
    pointer: pointer === null ? null : pointerView(pointer),
    badReleases: bad.map((row) => row.commit),
  });
};

/** Places and methods of a device's own words, by `METHOD /path`. */
export const reports: ReadonlyMap<string, Handle> = new Map<string, Handle>([
  ['PUT /device/state', putState],
  ['PUT /device/difference', putDifference],
  ['POST /events', postEvents],
  ['PUT /system_info', putJson('system_info')],
  ['PUT /system_info/network', putJson('network')],
  ['PUT /system_info/config', putText('config')],
  ['POST /apps-states', putJson('apps-states')],
  ['GET /config', async (_deps, _device, _req, res) => sendEmpty(res)],
  ['GET /device', getDevice],
]);

/** What a device may do before it is accepted: be seen, and see that it waits. */
export const OPEN_TO_PENDING: ReadonlySet<string> = new Set(['GET /device', 'PUT /system_info']);
