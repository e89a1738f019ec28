/** The Treeline server: database, scheduler, publisher, HTTP API and device gateway in one process. */
export * from './api/schema.ts';
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
export { ServerError, type ServerErrorCode } from './errors.ts';
export { type RunningServer, startServer } from './server.ts';
export { loadSettings, type Settings, type SettingsFragment, settingsFromEnvironment } from './settings.ts';
