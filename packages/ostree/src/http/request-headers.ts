import { OstreeError } from '../errors.ts';

const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** These are ours to say: what else they said would contradict what is sent. */
const RESERVED = /^(?:host|connection|content-length|transfer-encoding|expect|upgrade|te|trailer|keep-alive)$/i;

/**
 * Request headers as lines. A later group goes before an earlier one where both name a header.
 *
 * @throws OstreeError `invalid` for what is no header, or would change how requests are told apart
 */
export function headerLines(...groups: (Readonly<Record<string, string>> | undefined)[]): string {
  const lines = new Map<string, string>();
  for (const group of groups) {
    for (const [name, value] of Object.entries(group ?? {})) {
      if (!TOKEN.test(name) || RESERVED.test(name)) {
        throw new OstreeError('invalid', `${JSON.stringify(name)} cannot be the name of an extra HTTP header`);
      }
      if (!VALUE.test(value)) {
        throw new OstreeError('invalid', `the HTTP header ${name} has a value with control characters`);
      }
      lines.set(name.toLowerCase(), `${name}: ${value}\r\n`);
    }
  }
  return [...lines.values()].join('');
}
