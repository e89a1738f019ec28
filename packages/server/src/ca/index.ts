export {
  type Authority,
  type AuthorityOptions,
  type IssuedCertificate,
  openAuthority,
  type ServerCertificate,
} from './authority.ts';
export { isDeviceId } from './identity.ts';
