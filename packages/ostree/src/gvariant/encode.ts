import { OstreeError } from '../errors.ts';
import { align, type GVariantType, parseType } from './type.ts';

/**
 * A JavaScript value of a GVariant: numbers for up to 32 bits and doubles, bigint for 64 bits, boolean, string,
 * Uint8Array for `ay`, an array for other arrays and for tuples, pairs for dictionary entries, null for an
 * empty maybe, and `{type, value}` for a variant.
 */
export type Value = number | bigint | boolean | string | Uint8Array | null | Variant | readonly Value[];

/** A value that carries its type. */
export interface Variant {
  readonly type: string;
  readonly value: Value;
}

/** Serialises a value, little-endian, in normal form. Throws `invalid` where the value does not fit the type. */
export function encode(signature: string, value: Value): Buffer {
  const writer = new Writer();
  writer.write(parseType(signature), value);
  return writer.done();
}

class Writer {
  #buffer = Buffer.alloc(256);
  #length = 0;

  done(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#length));
  }

  #reserve(bytes: number): number {
    const start = this.#length;
    if (start + bytes > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(this.#buffer.length * 2, start + bytes));
      this.#buffer.copy(larger, 0, 0, start);
      this.#buffer = larger;
    }
    this.#length += bytes;
    return start;
  }

  #pad(alignment: number): void {
    const bytes = align(this.#length, alignment) - this.#length;
    if (bytes === 0) return;
    // First: making room may replace the buffer.
    const start = this.#reserve(bytes);
    this.#buffer.fill(0, start, start + bytes);
  }

  #bytes(data: Uint8Array): void {
    const start = this.#reserve(data.length);
    this.#buffer.set(data, start);
  }

  // Containers start at a multiple of their own alignment, so positions in the whole buffer align as well as
  // positions in the container.
  write(type: GVariantType, value: Value): void {
    this.#pad(type.alignment);
    switch (type.kind) {
      case 'basic':
        this.#basic(type, value);
        return;
      case 'string':
        if (typeof value !== 'string') throw mismatch(type, value);
        if (value.includes('\0')) throw new OstreeError('invalid', 'a GVariant string cannot hold a NUL');
        this.#bytes(Buffer.from(`${value}\0`));
        return;
      case 'bytes':
        if (!(value instanceof Uint8Array)) throw mismatch(type, value);
        this.#bytes(value);
        return;
      case 'variant':
        this.#variant(type, value);
        return;
      case 'maybe':
        if (value === null) return;
        this.write(type.element!, value);
        if (type.element!.fixedSize === 0) this.#bytes(new Uint8Array(1));
        return;
      case 'array':
        this.#array(type, value);
        return;
      case 'tuple':
        this.#tuple(type, value);
    }
  }

  #basic(type: GVariantType, value: Value): void {
    const at = this.#reserve(type.fixedSize);
    const buffer = this.#buffer;
    const letter = type.signature;
    if (letter === 'b') {
      if (typeof value !== 'boolean') throw mismatch(type, value);
      buffer[at] = value ? 1 : 0;
      return;
    }
    if (letter === 'x' || letter === 't') {
      if (typeof value !== 'bigint') throw mismatch(type, value);
      if (letter === 'x') buffer.writeBigInt64LE(value, at);
      else buffer.writeBigUInt64LE(value, at);
      return;
    }
    if (typeof value !== 'number') throw mismatch(type, value);
    if (letter === 'd') buffer.writeDoubleLE(value, at);
    else if (letter === 'n' || letter === 'i' || letter === 'h') buffer.writeIntLE(value, at, type.fixedSize);
    else buffer.writeUIntLE(value, at, type.fixedSize);
  }

  #variant(type: GVariantType, value: Value): void {
    if (!isVariant(value)) throw mismatch(type, value);
    const inner = parseType(value.type);
    const start = this.#length;
    this.write(inner, value.value);
    if (this.#length === start && inner.fixedSize > 0) throw mismatch(type, value);
    this.#bytes(Buffer.from(`\0${value.type}`));
  }

  #array(type: GVariantType, value: Value): void {
    if (!Array.isArray(value)) throw mismatch(type, value);
    const element = type.element!;
    const start = this.#length;
    const ends: number[] = [];
    for (const item of value as readonly Value[]) {
      this.write(element, item);
      ends.push(this.#length - start);
    }
    if (element.fixedSize === 0 && ends.length > 0) this.#offsets(ends, start);
  }

  #tuple(type: GVariantType, value: Value): void {
    const members = type.members!;
    if (!Array.isArray(value) || value.length !== members.length) throw mismatch(type, value);
    const start = this.#length;
    if (members.length === 0) this.#bytes(new Uint8Array(1));
    const ends: number[] = [];
    members.forEach((member, index) => {
      this.write(member, (value as readonly Value[])[index]!);
      if (member.fixedSize === 0 && index < members.length - 1) ends.unshift(this.#length - start);
    });
    if (type.fixedSize > 0) this.#pad(type.alignment);
    else if (ends.length > 0) this.#offsets(ends, start);
  }

  #offsets(ends: number[], start: number): void {
    const size = offsetSize(this.#length - start, ends.length);
    for (const end of ends) {
      const at = this.#reserve(size);
      if (size === 8) this.#buffer.writeBigUInt64LE(BigInt(end), at);
      else this.#buffer.writeUIntLE(end, at, size);
    }
  }
}

/** Bytes per framing offset for a container whose body has `body` bytes and which needs `count` offsets. */
function offsetSize(body: number, count: number): 1 | 2 | 4 | 8 {
  if (body + count <= 0xff) return 1;
  if (body + 2 * count <= 0xffff) return 2;
  if (body + 4 * count <= 0xffffffff) return 4;
  return 8;
}

export function isVariant(value: unknown): value is Variant {
  return typeof value === 'object' && value !== null && 'type' in value && 'value' in value;
}

function mismatch(type: GVariantType, value: unknown): OstreeError {
  const found = value === null ? 'null' : Array.isArray(value) ? `array of ${value.length}` : typeof value;
  return new OstreeError('invalid', `GVariant type "${type.signature}" cannot hold this value (${found})`);
}
