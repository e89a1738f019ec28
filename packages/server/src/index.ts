/** The Treeline server: database, scheduler, publisher, HTTP API and device gateway in one process. */

export { ACTIONS, type Action } from './access/caller.ts';
export { ROLES, type Role } from './access/roles.ts';
export {
  AuditEntry,
  AuditPage,
  MadeToken,
  RevokedTokens,
  Token,
  TokenCreate,
  WhoAmI,
} from './access/schema.ts';
export * from './api/schema.ts';
export type { BuiltInMaker, BuiltInMakers } from './built-ins/built-ins.ts';
export {
  Device,
  DeviceDetail,
  DeviceEvent,
  DeviceList,
  DevicePatch,
  DevicePointer,
  DeviceState,
  EnrolmentToken,
  EnrolmentTokenRequest,
  PointRequest,
} from './devices/schema.ts';
export { DeviceChange, DeviceDifference } from './differences/schema.ts';
export { ServerError, type ServerErrorCode } from './errors.ts';
export type { Reloaded } from './reload.ts';
export { type RunningServer, startServer } from './server.ts';
export {
  LOCAL_GATEWAY_NAMES,
  loadSettings,
  type Settings,
  type SettingsFragment,
  settingsFromEnvironment,
} from './settings.ts';
export { settingsFromFile } from './settings-file.ts';
