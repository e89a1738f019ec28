/** One OpenPGP signature packet, as far as it has to be understood here; `gpg` judges the rest. */
export interface SignaturePacket {
  /** The whole packet. */
  bytes: Buffer;
  /** Key ids (16 hex digits) and fingerprints, in capitals, of the key that it says made it. */
  issuers: string[];
}

const SIGNATURE_TAG = 2;

/**
 * The signature packets that one detached signature consists of, binary or ASCII-armored; null when there is
 * anything else in it. `gpg` must never be shown more than that: a signed message brings data of its own, and a good
 * signature of that data says nothing about ours. (RFC 4880, sections 4.2 and 5.2.)
 */
export function signaturePackets(blob: Uint8Array): SignaturePacket[] | null {
  const data = dearmor(Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength));
  if (!data) return null;
  const packets: SignaturePacket[] = [];
  for (let at = 0; at < data.length; ) {
    const body = packetBody(data, at);
    if (!body || body.tag !== SIGNATURE_TAG || body.end > data.length || body.start === body.end) return null;
    packets.push({ bytes: data.subarray(at, body.end), issuers: issuersOf(data.subarray(body.start, body.end)) });
    at = body.end;
  }
  return packets.length > 0 ? packets : null;
}

/** Where the body of the packet at an offset is. Lengths that come in parts are for data, never for signatures. */
function packetBody(data: Buffer, at: number): { tag: number; start: number; end: number } | null {
  const first = data[at]!;
  if ((first & 0x80) === 0) return null;
  if ((first & 0x40) !== 0) {
    const length = variableLength(data, at + 1);
    return length && { tag: first & 0x3f, start: length.next, end: length.next + length.value };
  }
  const bytes = [1, 2, 4, 0][first & 3]!;
  const start = at + 1 + bytes;
  if (bytes === 0 || start > data.length) return null;
  return { tag: (first >> 2) & 0xf, start, end: start + data.readUIntBE(at + 1, bytes) };
}

/** A length of one, two or five bytes: of new packets, and of subpackets. */
function variableLength(data: Buffer, at: number): { value: number; next: number } | null {
  const first = data[at];
  if (first === undefined) return null;
  if (first < 192) return { value: first, next: at + 1 };
  if (first < 224)
    return at + 2 > data.length ? null : { value: ((first - 192) << 8) + data[at + 1]! + 192, next: at + 2 };
  if (first < 255 || at + 5 > data.length) return null;
  return { value: data.readUInt32BE(at + 1), next: at + 5 };
}

function issuersOf(body: Buffer): string[] {
  if (body[0] === 3) return body.length >= 15 ? [hex(body.subarray(7, 15))] : [];
  if (body[0] !== 4 || body.length < 6) return [];
  const hashedEnd = 6 + body.readUInt16BE(4);
  if (hashedEnd + 2 > body.length) return [];
  const unhashedEnd = hashedEnd + 2 + body.readUInt16BE(hashedEnd);
  if (unhashedEnd > body.length) return [];
  return [...issuersIn(body.subarray(6, hashedEnd)), ...issuersIn(body.subarray(hashedEnd + 2, unhashedEnd))];
}

/** Subpackets 16 (issuer's key id) and 33 (issuer's fingerprint). */
function issuersIn(area: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; at < area.length; ) {
    const length = variableLength(area, at);
    if (!length || length.value === 0 || length.next + length.value > area.length) break;
    const type = area[length.next]! & 0x7f;
    const content = area.subarray(length.next + 1, length.next + length.value);
    if (type === 16 && content.length === 8) found.push(hex(content));
    if (type === 33 && content.length === 21) found.push(hex(content.subarray(1)));
    at = length.next + length.value;
  }
  return found;
}

function hex(bytes: Buffer): string {
  return bytes.toString('hex').toUpperCase();
}

const [BEGIN, END] = ['-----BEGIN PGP SIGNATURE-----', '-----END PGP SIGNATURE-----'];
/** A signature is a few hundred bytes; text that is longer than this is none. */
const MAX_ARMOR_BYTES = 64 * 1024;

/** The bytes inside of ASCII armor (RFC 4880, section 6.2); bytes without armor as they are. Null for neither. */
function dearmor(blob: Buffer): Buffer | null {
  if (blob.length === 0 || (blob[0]! & 0x80) !== 0) return blob;
  if (blob.length > MAX_ARMOR_BYTES) return null;
  const lines = blob.toString('latin1').trim().split('\n');
  if (lines.shift()?.trimEnd() !== BEGIN || lines.pop()?.trimEnd() !== END) return null;
  // Headers end with an empty line. The checksum is gpg's to look at, or nobody's: a signature checks itself.
  const start = lines.findIndex((line) => line.trim() === '') + 1;
  if (start === 0) return null;
  const body = lines.slice(start).map((line) => line.trim());
  if (body.at(-1)?.startsWith('=')) body.pop();
  return body.every((line) => /^[A-Za-z0-9+/]*={0,2}$/.test(line)) ? Buffer.from(body.join(''), 'base64') : null;
}
