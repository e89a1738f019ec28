/** Devices: how they get in, what they report, what they should run. */
export { decideOffer, type UnknownDevicePolicy } from './decisions.ts';
export { parseEvents } from './events.ts';
export { createRegistry, type Registry, type ReleaseSource } from './registry.ts';
export { deviceRoutes } from './routes.ts';
export { StateReport } from './schema.ts';
