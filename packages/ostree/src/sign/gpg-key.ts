import { hash } from 'node:crypto';

/** A key of its own, or the one that all others of a GPG key belong to. */
export interface GpgSubkey {
  fingerprint: string;
  /** Seconds since 1970. */
  created: number;
  /** Seconds since 1970; 0 for never. */
  expires: number;
  revoked: boolean;
  expired: boolean;
  invalid: boolean;
}

/** Whose key it is. */
export interface GpgUser {
  /** `Name (comment) <address>`. */
  id: string;
  name: string;
  email: string;
  revoked: boolean;
  invalid: boolean;
}

/** A public key of GPG. */
export interface GpgKey {
  /** The primary key first. */
  subkeys: GpgSubkey[];
  users: GpgUser[];
}

/** Reads `gpg --list-keys --with-colons` (GnuPG's doc/DETAILS). */
export function parseKeyListing(text: string): GpgKey[] {
  const keys: GpgKey[] = [];
  for (const line of text.split('\n')) {
    const fields = line.split(':');
    const [type, validity = ''] = fields;
    const key = keys.at(-1);
    if (type === 'pub' || type === 'sec') keys.push({ subkeys: [subkeyOf(fields, validity)], users: [] });
    else if (!key) continue;
    else if (type === 'sub' || type === 'ssb') key.subkeys.push(subkeyOf(fields, validity));
    else if (type === 'fpr') key.subkeys.at(-1)!.fingerprint = fields[9] ?? '';
    else if (type === 'uid') key.users.push(userOf(unescapeField(fields[9] ?? ''), validity));
  }
  return keys;
}

function subkeyOf(fields: readonly string[], validity: string): GpgSubkey {
  return {
    // Until the line with the whole of it comes.
    fingerprint: fields[4] ?? '',
    created: Number(fields[5]) || 0,
    expires: Number(fields[6]) || 0,
    revoked: validity === 'r',
    expired: validity === 'e',
    invalid: validity === 'i',
  };
}

function userOf(id: string, validity: string): GpgUser {
  const [beforeEmail, email] = takeLast(id, '<', '>');
  const [name] = takeLast(beforeEmail, '(', ')');
  return { id, name, email: email ?? '', revoked: validity === 'r', invalid: validity === 'i' };
}

/** What stands in brackets at the end of a text, and what is before it. */
function takeLast(text: string, open: string, close: string): [rest: string, inside: string | null] {
  const start = text.endsWith(close) ? text.lastIndexOf(open) : -1;
  return start < 0 ? [text, null] : [text.slice(0, start).trimEnd(), text.slice(start + 1, -1)];
}

/** Colons and what does not print are written as `\x3a`. Control characters stay so: this goes to terminals. */
function unescapeField(field: string): string {
  if (!field.includes('\\')) return field;
  const bytes = Buffer.from(field, 'utf8').toString('latin1');
  const whole = bytes.replace(/\\x([0-9a-f]{2})/gi, (written, hex: string) => {
    const code = Number.parseInt(hex, 16);
    return code < 0x20 || code === 0x7f ? written : String.fromCharCode(code);
  });
  return Buffer.from(whole, 'latin1').toString('utf8');
}

/** Where a key may be fetched: the two places of the OpenPGP Web Key Directory draft. */
export interface WebKeyDirectoryUrls {
  advanced: string;
  direct: string;
}

/** Where the key of an address can be had (draft-koch-openpgp-webkey-service), or null when it is no address. */
export function webKeyDirectoryUrls(email: string): WebKeyDirectoryUrls | null {
  const [local, domain, ...rest] = email.split('@');
  if (!local || !domain || rest.length > 0) return null;
  const name = zbase32(Buffer.from(hash('sha1', local.toLowerCase()), 'hex'));
  const query = `hu/${name}?l=${encodeURIComponent(local)}`;
  return {
    advanced: `https://openpgpkey.${domain}/.well-known/openpgpkey/${domain.toLowerCase()}/${query}`,
    direct: `https://${domain}/.well-known/openpgpkey/${query}`,
  };
}

const ZBASE32 = 'ybndrfg8ejkmcpqxot1uwisza345h769';

function zbase32(bytes: Uint8Array): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? []).map((part) => ZBASE32[Number.parseInt(part.padEnd(5, '0'), 2)]).join('');
}
