import type { GpgKey } from './gpg-key.ts';

/** What `gpg` found about one signature. */
export interface GpgSignature {
  /** Good, by a key that is there and neither expired nor revoked. Nothing else counts. */
  valid: boolean;
  signatureExpired: boolean;
  keyExpired: boolean;
  keyRevoked: boolean;
  keyMissing: boolean;
  /** Of the key that made it; its 16-digit id where `gpg` says no more. */
  fingerprint: string;
  /** Of the key that this one belongs to; empty when that is not there. */
  primaryFingerprint: string;
  /** Seconds since 1970; 0 when `gpg` does not say. */
  created: number;
  /** Seconds since 1970; 0 for never. */
  expires: number;
  /** RSA, EdDSA, … */
  algorithm: string;
  userName: string;
  userEmail: string;
  /** Seconds since 1970; 0 for never. */
  keyExpires: number;
  primaryKeyExpires: number;
}

/**
 * Reads what `gpg --verify --status-fd` says (GnuPG's doc/DETAILS): one signature for each NEWSIG. Only a GOODSIG
 * with the VALIDSIG of a signature over binary data (class 00) counts: a standalone signature covers no data at all.
 */
export function parseVerifyStatus(status: string, keys: readonly GpgKey[]): GpgSignature[] {
  const signatures: { words: Map<string, string[]> }[] = [];
  for (const line of status.split('\n')) {
    if (!line.startsWith('[GNUPG:] ')) continue;
    const [keyword, ...words] = line.slice('[GNUPG:] '.length).split(' ');
    if (keyword === 'NEWSIG') signatures.push({ words: new Map() });
    else if (signatures.length > 0) signatures.at(-1)!.words.set(keyword!, words);
  }
  return signatures.map(({ words }) => describeStatus(words, keys));
}

function describeStatus(words: Map<string, string[]>, keys: readonly GpgKey[]): GpgSignature {
  const validSig = words.get('VALIDSIG');
  const errSig = words.get('ERRSIG');
  const verdict = ['GOODSIG', 'EXPSIG', 'EXPKEYSIG', 'REVKEYSIG', 'BADSIG'].filter((keyword) => words.has(keyword));
  const said = words.get(verdict[0] ?? '')?.[0] ?? errSig?.[0] ?? '';
  const fingerprint = validSig?.[0] ?? (/^[0-9A-F]{40,}$/.test(errSig?.[6] ?? '') ? errSig![6]! : said);
  const key = keys.find(({ subkeys }) => subkeys.some((one) => one.fingerprint.endsWith(fingerprint || '-')));
  const subkey = key?.subkeys.find((one) => one.fingerprint.endsWith(fingerprint));
  const user = key?.users[0];
  const good = verdict.length === 1 && verdict[0] === 'GOODSIG' && !errSig;
  return {
    valid: good && validSig !== undefined && validSig[8] === '00' && subkey?.fingerprint === fingerprint,
    signatureExpired: words.has('EXPSIG'),
    keyExpired: words.has('EXPKEYSIG'),
    keyRevoked: words.has('REVKEYSIG'),
    keyMissing: words.has('NO_PUBKEY'),
    fingerprint: subkey?.fingerprint ?? fingerprint,
    primaryFingerprint: key?.subkeys[0]?.fingerprint ?? '',
    created: Number(validSig?.[2] ?? errSig?.[4] ?? 0) || 0,
    expires: Number(validSig?.[3] ?? 0) || 0,
    algorithm: ALGORITHMS[validSig?.[6] ?? errSig?.[1] ?? ''] ?? '[unknown name]',
    userName: user?.name ?? '[unknown name]',
    userEmail: user?.email ?? '[unknown email]',
    keyExpires: subkey?.expires ?? 0,
    primaryKeyExpires: key?.subkeys[0]?.expires ?? 0,
  };
}

/** OpenPGP's public key algorithms (RFC 4880, section 9.1) under GPGME's names. */
const ALGORITHMS: Readonly<Record<string, string>> = {
  1: 'RSA',
  2: 'RSA-E',
  3: 'RSA-S',
  16: 'ELG-E',
  17: 'DSA',
  18: 'ECDH',
  19: 'ECDSA',
  20: 'ELG',
  22: 'EdDSA',
};

/**
 * A signature in the lines that `ostree show` prints, each ended by a newline.
 *
 * @param prefix before each line
 */
export function formatGpgSignature(signature: GpgSignature, prefix = ''): string {
  const { fingerprint, primaryFingerprint, userName, userEmail, keyExpired } = signature;
  const by = `from "${userName} <${userEmail}>"`;
  const lines = [
    `Signature made ${formatLocalTime(signature.created)} using ${signature.algorithm} key ID ${fingerprint.slice(-16)}`,
  ];
  if (signature.keyMissing) lines.push("Can't check signature: public key not found");
  else if (signature.valid) lines.push(`Good signature ${by}`);
  else if (signature.keyRevoked) lines.push('Key revoked');
  else if (signature.signatureExpired) lines.push(`Expired signature ${by}`);
  else lines.push(`BAD signature ${by}`);
  const isSubkey = fingerprint !== primaryFingerprint;
  if (!signature.keyMissing && isSubkey) lines.push(`Primary key ID ${primaryFingerprint.slice(-16)}`);
  const expiry = (what: string, seconds: number, expired: boolean) => {
    if (seconds > 0) lines.push(`${what} ${expired ? 'expired' : 'expires'} ${formatLocalTime(seconds)}`);
  };
  expiry('Signature', signature.expires, signature.signatureExpired);
  expiry('Key', signature.keyExpires, keyExpired);
  if (isSubkey) expiry('Primary key', signature.primaryKeyExpires, keyExpired);
  return lines.map((line) => `${prefix}${line}\n`).join('');
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** A time in the form of C's `%c` in the C locale, in local time: `Tue Sep 10 02:29:42 2013`. */
export function formatLocalTime(seconds: number): string {
  const time = new Date(seconds * 1000);
  if (Number.isNaN(time.getTime())) return `(${seconds} seconds after 1970)`;
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => String(part).padStart(2, '0'));
  const day = String(time.getDate()).padStart(2, ' ');
  return `${DAYS[time.getDay()]} ${MONTHS[time.getMonth()]} ${day} ${clock.join(':')} ${time.getFullYear()}`;
}
