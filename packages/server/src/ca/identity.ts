/** A device's id is its certificate's CN, part of URLs and logs: letters, digits, `.`, `_`, `-`, at most 64. */
const DEVICE_ID = /^[A-Za-z0-9._-]{1,64}$/;

export function isDeviceId(text: unknown): text is string {
  return typeof text === 'string' && DEVICE_ID.test(text);
}
