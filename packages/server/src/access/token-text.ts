import { createHash, randomInt } from 'node:crypto';
import { crc32 } from 'node:zlib';

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const PREFIX = 'tl_';
const ID_LENGTH = 8;
const SECRET_LENGTH = 32;
const CHECKSUM_LENGTH = 6;
const FORM = /^tl_([0-9A-Za-z]{8})[0-9A-Za-z]{32}([0-9A-Za-z]{6})$/;

export interface TokenText {
  /** `tl_`, the id, 32 random digits of 62 (190 bits), and a checksum of 6: what secret scanners look for. */
  text: string;
  /** The first 8 digits: names the token in lists and in the audit log, and opens nothing. */
  id: string;
}

/** Makes the text of a new token. */
export function makeTokenText(): TokenText {
  const id = randomDigits(ID_LENGTH);
  const body = `${PREFIX}${id}${randomDigits(SECRET_LENGTH)}`;
  return { text: `${body}${checksum(body)}`, id };
}

/** The id in a token's text; `mistyped` when it begins like one and is none; null when it is something else. */
export function readTokenText(text: string): { id: string } | 'mistyped' | null {
  if (!text.startsWith(PREFIX)) return null;
  const match = FORM.exec(text);
  if (match?.[2] !== checksum(text.slice(0, -CHECKSUM_LENGTH))) return 'mistyped';
  return { id: match[1]! };
}

/** sha256 of a token: tokens are random, so no slow hash is needed. */
export function hashToken(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function randomDigits(length: number): string {
  return Array.from({ length }, () => DIGITS[randomInt(DIGITS.length)]).join('');
}

/** CRC-32 of the text before it, as six digits of 62. It tells typos apart from tokens; it proves nothing. */
function checksum(body: string): string {
  let value = crc32(body);
  let digits = '';
  for (let i = 0; i < CHECKSUM_LENGTH; i += 1) {
    digits = DIGITS[value % DIGITS.length]! + digits;
    value = Math.floor(value / DIGITS.length);
  }
  return digits;
}
