import { OstreeError } from '../errors.ts';
import type { Value, Variant } from './encode.ts';
import { align, type GVariantType, parseType } from './type.ts';

/** How errors name what is read. */
export interface DecodeOptions {
  /** Said in errors: what these bytes are, for example `<checksum>.dirtree`. */
  object?: string;
}

/**
 * Reads a serialised GVariant (little-endian). Unlike GLib, which replaces what is malformed by default values,
 * this refuses everything that is not in normal form: only one byte string can stand for a value, so nothing
 * can hide in an object whose checksum is right. Byte strings in the result are views of `data`.
 *
 * @throws OstreeError `corrupt`, with the byte offset
 */
export function decode(signature: string, data: Uint8Array, options: DecodeOptions = {}): Value {
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return new Reader(buffer, options.object ?? `GVariant "${signature}"`).read(
    parseType(signature),
    0,
    buffer.length,
    0,
  );
}

/** Variants nest through their own type strings: bound that too. */
const MAX_NESTED_VARIANTS = 16;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class Reader {
  readonly #buffer: Buffer;
  readonly #object: string;

  constructor(buffer: Buffer, object: string) {
    this.#buffer = buffer;
    this.#object = object;
  }

  #corrupt(offset: number, message: string): OstreeError {
    return new OstreeError('corrupt', `${this.#object}: ${message} at byte ${offset}`, {
      offset,
      object: this.#object,
    });
  }

  read(type: GVariantType, start: number, end: number, variants: number): Value {
    if (type.fixedSize > 0 && end - start !== type.fixedSize) {
      throw this.#corrupt(start, `${end - start} bytes for "${type.signature}", which takes ${type.fixedSize}`);
    }
    switch (type.kind) {
      case 'basic':
        return this.#basic(type, start);
      case 'string':
        return this.#string(start, end);
      case 'bytes':
        return this.#buffer.subarray(start, end);
      case 'variant':
        return this.#variant(start, end, variants);
      case 'maybe':
        return this.#maybe(type, start, end, variants);
      case 'array':
        return this.#array(type, start, end, variants);
      case 'tuple':
        return this.#tuple(type, start, end, variants);
    }
  }

  #basic(type: GVariantType, at: number): Value {
    const buffer = this.#buffer;
    switch (type.signature) {
      case 'y':
        return buffer[at]!;
      case 'b':
        if (buffer[at]! > 1) throw this.#corrupt(at, 'a boolean that is neither 0 nor 1');
        return buffer[at] === 1;
      case 'n':
        return buffer.readInt16LE(at);
      case 'q':
        return buffer.readUInt16LE(at);
      case 'i':
      case 'h':
        return buffer.readInt32LE(at);
      case 'u':
        return buffer.readUInt32LE(at);
      case 'x':
        return buffer.readBigInt64LE(at);
      case 't':
        return buffer.readBigUInt64LE(at);
      default:
        return buffer.readDoubleLE(at);
    }
  }

  #string(start: number, end: number): string {
    if (end === start || this.#buffer[end - 1] !== 0) throw this.#corrupt(end, 'a string without its final NUL');
    const nul = this.#buffer.indexOf(0, start);
    if (nul !== end - 1) throw this.#corrupt(nul, 'a NUL inside a string');
    try {
      return utf8.decode(this.#buffer.subarray(start, end - 1));
    } catch (cause) {
      throw new OstreeError('corrupt', `${this.#object}: a string that is not UTF-8 at byte ${start}`, {
        offset: start,
        object: this.#object,
        cause,
      });
    }
  }

  #variant(start: number, end: number, variants: number): Variant {
    if (variants >= MAX_NESTED_VARIANTS) throw this.#corrupt(start, 'variants nested too deep');
    const nul = end > start ? this.#buffer.lastIndexOf(0, end - 1) : -1;
    if (nul < start) throw this.#corrupt(start, 'a variant without a type');
    const signature = this.#buffer.toString('latin1', nul + 1, end);
    let type: GVariantType;
    try {
      type = parseType(signature);
    } catch (cause) {
      throw new OstreeError('corrupt', `${this.#object}: a variant of unknown type at byte ${nul + 1}`, {
        offset: nul + 1,
        object: this.#object,
        cause,
      });
    }
    return { type: signature, value: this.read(type, start, nul, variants + 1) };
  }

  #maybe(type: GVariantType, start: number, end: number, variants: number): Value {
    const element = type.element!;
    if (start === end) return null;
    if (element.fixedSize > 0) return this.read(element, start, end, variants);
    if (this.#buffer[end - 1] !== 0) throw this.#corrupt(end - 1, 'a maybe without its final NUL');
    const value = this.read(element, start, end - 1, variants);
    // A maybe that holds an empty maybe would look like an empty one. No format of OSTree has either.
    if (value === null) throw this.#corrupt(start, 'an empty maybe inside a maybe');
    return value;
  }

  #array(type: GVariantType, start: number, end: number, variants: number): Value[] {
    const element = type.element!;
    const length = end - start;
    const items: Value[] = [];
    if (length === 0) return items;
    if (element.fixedSize > 0) {
      if (length % element.fixedSize !== 0) {
        throw this.#corrupt(end, `an array of ${length} bytes with elements of ${element.fixedSize}`);
      }
      for (let at = start; at < end; at += element.fixedSize) {
        items.push(this.read(element, at, at + element.fixedSize, variants));
      }
      return items;
    }
    const size = offsetSize(length);
    const last = this.#offset(end - size, size, length);
    if ((length - last) % size !== 0) throw this.#corrupt(end - size, 'framing offsets that do not fill their place');
    const count = (length - last) / size;
    if (count < 1) throw this.#corrupt(end - size, 'an array without framing offsets');
    this.#minimalOffsets(size, last, count, start);
    let at = 0;
    for (let index = 0; index < count; index++) {
      const itemEnd = this.#offset(start + last + index * size, size, last);
      at = this.#padding(start, at, element.alignment, itemEnd);
      items.push(this.read(element, start + at, start + itemEnd, variants));
      at = itemEnd;
    }
    return items;
  }

  #tuple(type: GVariantType, start: number, end: number, variants: number): Value[] {
    const members = type.members!;
    const length = end - start;
    const size = offsetSize(length);
    const values: Value[] = [];
    let at = 0;
    let offsets = 0;
    // The last member ends where the framing offsets begin, so count them first.
    const framed = members.filter((member, index) => member.fixedSize === 0 && index < members.length - 1).length;
    const body = type.fixedSize > 0 ? length : length - framed * size;
    if (body < 0) throw this.#corrupt(start, `${length} bytes are too few for "${type.signature}"`);
    if (type.fixedSize === 0) this.#minimalOffsets(size, body, framed, start);
    members.forEach((member, index) => {
      const itemStart = align(at, member.alignment);
      let itemEnd: number;
      if (member.fixedSize > 0) itemEnd = itemStart + member.fixedSize;
      else if (index === members.length - 1) itemEnd = body;
      else {
        offsets++;
        itemEnd = this.#offset(end - offsets * size, size, body);
      }
      if (itemEnd > body) throw this.#corrupt(start + at, `"${type.signature}" is cut short`);
      at = this.#padding(start, at, member.alignment, itemEnd);
      values.push(this.read(member, start + at, start + itemEnd, variants));
      at = itemEnd;
    });
    for (; at < body; at++) {
      if (type.fixedSize === 0 || this.#buffer[start + at] !== 0) {
        throw this.#corrupt(start + at, `unexpected bytes after "${type.signature}"`);
      }
    }
    return values;
  }

  /** Steps over padding, which must be zero, to the start of an item that ends at `end`. */
  #padding(start: number, from: number, alignment: number, end: number): number {
    const at = align(from, alignment);
    if (at > end) {
      // An empty item (an empty array, say) at the very end is not padded for.
      throw this.#corrupt(start + from, 'a framing offset before the start of its item');
    }
    for (let index = from; index < at; index++) {
      if (this.#buffer[start + index] !== 0) throw this.#corrupt(start + index, 'padding that is not zero');
    }
    return at;
  }

  #offset(at: number, size: number, limit: number): number {
    const value = size === 8 ? Number(this.#buffer.readBigUInt64LE(at)) : this.#buffer.readUIntLE(at, size);
    if (value > limit) throw this.#corrupt(at, `a framing offset of ${value} beyond ${limit}`);
    return value;
  }

  /** Offsets wider than the body needs are another spelling of the same value. */
  #minimalOffsets(size: number, body: number, count: number, start: number): void {
    if (count === 0 || size === 1) return;
    const narrower = size / 2;
    if (body + count * narrower <= 2 ** (8 * narrower) - 1)
      throw this.#corrupt(start, 'framing offsets wider than needed');
  }
}

function offsetSize(length: number): 1 | 2 | 4 | 8 {
  if (length <= 0xff) return 1;
  if (length <= 0xffff) return 2;
  if (length <= 0xffffffff) return 4;
  return 8;
}
