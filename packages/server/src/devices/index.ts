/** Devices: how they get in, what they report, what they should run. */
export type { UnknownDevicePolicy } from './decisions.ts';
export { pointerRoutes } from './pointer-routes.ts';
export { createPointers, type Pointers } from './pointers.ts';
export { createRegistry, type Registry } from './registry.ts';
export { deviceRoutes } from './routes.ts';
