export { type Authority, openAuthority } from './authority.ts';
export { isDeviceId } from './identity.ts';
