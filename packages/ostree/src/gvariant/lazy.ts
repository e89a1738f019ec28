import { OstreeError } from '../errors.ts';
import { align, type GVariantType, parseType } from './type.ts';

// Parts of serialised GVariants, found without reading the rest: for lists that may have a million entries of which
// few are wanted. Positions are checked as they are used, so what is malformed elsewhere goes unnoticed.

/** The items of an array whose elements vary in size, by index. Throws `corrupt`. */
export class LazyArray {
  readonly length: number;
  readonly #data: Buffer;
  readonly #object: string;
  readonly #alignment: number;
  readonly #size: 1 | 2 | 4 | 8;
  /** Where the items end and the framing offsets begin. */
  readonly #offsets: number;

  constructor(elementType: string, data: Buffer, object: string) {
    const type = parseType(elementType);
    if (type.fixedSize > 0) throw new OstreeError('invalid', `"${elementType}" does not vary in size`);
    this.#data = data;
    this.#object = object;
    this.#alignment = type.alignment;
    this.#size = offsetSize(data.length);
    this.#offsets = data.length === 0 ? 0 : readOffset(data, data.length - this.#size, this.#size);
    const framing = data.length - this.#offsets;
    if (this.#offsets > data.length || framing % this.#size !== 0 || (data.length > 0 && framing === 0)) {
      throw corrupt(object, data.length, 'framing offsets that do not fill their place');
    }
    this.length = framing / this.#size;
  }

  item(index: number): Buffer {
    const start = index === 0 ? 0 : align(this.#end(index - 1), this.#alignment);
    const end = this.#end(index);
    if (start > end) throw corrupt(this.#object, start, 'a framing offset before the start of its item');
    return this.#data.subarray(start, end);
  }

  #end(index: number): number {
    const at = this.#offsets + index * this.#size;
    const end = readOffset(this.#data, at, this.#size);
    if (end > this.#offsets) throw corrupt(this.#object, at, `a framing offset of ${end} beyond ${this.#offsets}`);
    return end;
  }
}

/** The bytes of each member of a tuple or dictionary entry. Throws `corrupt`. */
export function tupleMembers(signature: string, data: Buffer, object: string): Buffer[] {
  const members = parseType(signature).members as readonly GVariantType[];
  const size = offsetSize(data.length);
  const framed = members.filter((member, index) => member.fixedSize === 0 && index < members.length - 1).length;
  const body = data.length - framed * size;
  if (body < 0) throw corrupt(object, 0, `${data.length} bytes are too few for "${signature}"`);
  let at = 0;
  let offsets = 0;
  return members.map((member, index) => {
    const start = align(at, member.alignment);
    let end = body;
    if (member.fixedSize > 0) end = start + member.fixedSize;
    else if (index < members.length - 1) end = readOffset(data, data.length - ++offsets * size, size);
    if (start > end || end > body) throw corrupt(object, at, `"${signature}" is cut short`);
    at = end;
    return data.subarray(start, end);
  });
}

/** The type of what is in a variant, and its bytes. Throws `corrupt`. */
export function variantContent(data: Buffer, object: string): { type: string; data: Buffer } {
  const nul = data.lastIndexOf(0);
  if (nul < 0) throw corrupt(object, 0, 'a variant without a type');
  return { type: data.toString('latin1', nul + 1), data: data.subarray(0, nul) };
}

function readOffset(data: Buffer, at: number, size: 1 | 2 | 4 | 8): number {
  return size === 8 ? Number(data.readBigUInt64LE(at)) : data.readUIntLE(at, size);
}

function offsetSize(length: number): 1 | 2 | 4 | 8 {
  if (length <= 0xff) return 1;
  if (length <= 0xffff) return 2;
  if (length <= 0xffffffff) return 4;
  return 8;
}

function corrupt(object: string, offset: number, message: string): OstreeError {
  return new OstreeError('corrupt', `${object}: ${message} at byte ${offset}`, { object, offset });
}
