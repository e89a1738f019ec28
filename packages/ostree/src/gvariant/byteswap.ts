import { isVariant, type Value } from './encode.ts';
import { type GVariantType, parseType } from './type.ts';

/**
 * The value that has the same bytes on a machine of the other byte order, as `g_variant_byteswap` makes it: `ostree
 * show` prints metadata like this, because some of libostree's numbers are stored big-endian.
 */
export function byteswap(signature: string, value: Value): Value {
  return swap(parseType(signature), value);
}

function swap(type: GVariantType, value: Value): Value {
  switch (type.kind) {
    case 'basic':
      return swapBasic(type, value);
    case 'variant':
      return isVariant(value) ? { type: value.type, value: swap(parseType(value.type), value.value) } : value;
    case 'maybe':
      return value === null ? null : swap(type.element!, value);
    case 'array':
      return (value as readonly Value[]).map((item) => swap(type.element!, item));
    case 'tuple':
      return (value as readonly Value[]).map((item, index) => swap(type.members![index]!, item));
    default:
      return value;
  }
}

function swapBasic(type: GVariantType, value: Value): Value {
  const bytes = Buffer.alloc(8);
  switch (type.signature) {
    case 'n':
      bytes.writeInt16LE(value as number);
      return bytes.readInt16BE();
    case 'q':
      bytes.writeUInt16LE(value as number);
      return bytes.readUInt16BE();
    case 'i':
    case 'h':
      bytes.writeInt32LE(value as number);
      return bytes.readInt32BE();
    case 'u':
      bytes.writeUInt32LE(value as number);
      return bytes.readUInt32BE();
    case 'x':
      bytes.writeBigInt64LE(value as bigint);
      return bytes.readBigInt64BE();
    case 't':
      bytes.writeBigUInt64LE(value as bigint);
      return bytes.readBigUInt64BE();
    case 'd':
      bytes.writeDoubleLE(value as number);
      return bytes.readDoubleBE();
    default:
      return value;
  }
}
