import { OstreeError } from '../errors.ts';
import type { DeltaObject, DeltaObjectType } from './superblock.ts';
import { type Cursor, readVarint } from './varint.ts';

/**
 * What a part says to do (`OstreeStaticDeltaOpCode`), with offsets into the part's blob. `mode` and `xattrs` are
 * indexes into its tables.
 */
export type Operation =
  /** `S`: an object that lies in the blob as a whole; for a symlink, its target does. */
  | { op: 'metadata'; type: Exclude<DeltaObjectType, 'file'>; index: number; offset: number; length: number }
  | { op: 'file'; index: number; mode: number; xattrs: number; offset: number; length: number }
  /** `o`: begins a file of `size` bytes, which the operations up to `close` write. */
  | { op: 'open'; index: number; mode: number; xattrs: number; size: number }
  /** `w`: bytes of the source where one is set, of the blob otherwise. */
  | { op: 'write'; offset: number; length: number }
  /** `r`: the content object whose checksum is at `offset` becomes the source; `R`: none is. */
  | { op: 'set-source'; offset: number }
  | { op: 'unset-source' }
  /** `B`: the whole file, by a bsdiff patch of the source. */
  | { op: 'patch'; offset: number; length: number }
  /** `c`: the file is complete; there is no source after it. */
  | { op: 'close' };

/** Letters in the order in which `ostree static-delta show` counts them. */
export const OPERATION_LETTERS: readonly OperationLetter[] = ['S', 'o', 'w', 'r', 'R', 'c', 'B'];
/** An operation of a delta part, as it is written: `S` open-splice-and-close, `o` open, `w` write, and so on. */
export type OperationLetter = 'S' | 'o' | 'w' | 'r' | 'R' | 'c' | 'B';

/** The letter that stands for an operation. */
export function letterOf(operation: Operation): OperationLetter {
  switch (operation.op) {
    case 'metadata':
    case 'file':
      return 'S';
    case 'open':
      return 'o';
    case 'write':
      return 'w';
    case 'set-source':
      return 'r';
    case 'unset-source':
      return 'R';
    case 'close':
      return 'c';
    case 'patch':
      return 'B';
  }
}

export interface OperationLimits {
  /** What the part makes, in this order, by the superblock. */
  objects: readonly DeltaObject[];
  blobLength: number;
  modes: number;
  xattrs: number;
  /** Said in errors. */
  object: string;
}

/**
 * Reads a part's operations, one by one, and refuses what no honest part says: unknown letters, offsets outside the
 * blob or a table, writes with no file open, a file that gets more or less than its size, more or fewer objects than
 * the superblock says.
 *
 * @throws OstreeError `corrupt`
 */
export function* readOperations(data: Uint8Array, limits: OperationLimits): Generator<Operation, void, void> {
  const { objects, blobLength, object } = limits;
  const cursor: Cursor = { data, at: 0 };
  let next = 0;
  let open: { size: number; written: number } | null = null;
  let source = false;
  let start = 0;
  const bad = (why: string) =>
    new OstreeError('corrupt', `${object}: ${why} at operation byte ${start}`, { object, offset: start });
  const number = () => readVarint(cursor, object);
  const inBlob = (offset: number, length: number) => {
    if (offset + length > blobLength) throw bad(`Invalid offset/length ${offset}/${length}`);
  };
  const index = (count: number, what: string) => {
    const value = number();
    if (value >= count) throw bad(`${what} ${value} of ${count}`);
    return value;
  };
  const begin = () => {
    if (open) throw bad('an object begins inside another');
    const target = objects[next];
    if (!target) throw bad(`more than ${objects.length} objects`);
    next++;
    return target;
  };
  const write = (length: number) => {
    if (!open) throw bad('a write while no file is open');
    open.written += length;
    if (open.written > open.size) throw bad(`more than ${open.size} bytes for a file`);
  };
  while (cursor.at < data.length) {
    start = cursor.at;
    switch (data[cursor.at++]) {
      case 0x53: {
        const target = begin();
        source = false;
        if (target.type !== 'file') {
          const length = number();
          const offset = number();
          inBlob(offset, length);
          yield { op: 'metadata', type: target.type, index: next - 1, offset, length };
          break;
        }
        const mode = index(limits.modes, 'mode');
        const xattrs = index(limits.xattrs, 'attributes');
        const length = number();
        const offset = number();
        inBlob(offset, length);
        yield { op: 'file', index: next - 1, mode, xattrs, offset, length };
        break;
      }
      case 0x6f: {
        const target = begin();
        if (target.type !== 'file') throw bad(`a ${target.type} that is opened as a file`);
        const mode = index(limits.modes, 'mode');
        const xattrs = index(limits.xattrs, 'attributes');
        const size = number();
        open = { size, written: 0 };
        yield { op: 'open', index: next - 1, mode, xattrs, size };
        break;
      }
      case 0x77: {
        const length = number();
        const offset = number();
        if (!source) inBlob(offset, length);
        write(length);
        yield { op: 'write', offset, length };
        break;
      }
      case 0x72: {
        const offset = number();
        inBlob(offset, 32);
        source = true;
        yield { op: 'set-source', offset };
        break;
      }
      case 0x52:
        source = false;
        yield { op: 'unset-source' };
        break;
      case 0x63:
        if (!open) throw bad('no file is open to be closed');
        if (open.written !== open.size) throw bad(`${open.written} bytes for a file of ${open.size}`);
        open = null;
        source = false;
        yield { op: 'close' };
        break;
      case 0x42: {
        const offset = number();
        const length = number();
        inBlob(offset, length);
        if (!source) throw bad('a patch of nothing');
        if (!open || open.written > 0) throw bad('a patch that is not all of a file');
        write(open.size);
        yield { op: 'patch', offset, length };
        break;
      }
      default:
        throw bad(`Unknown opcode ${data[start]}`);
    }
  }
  start = data.length;
  if (open) throw bad('a file that is not closed');
  if (next !== objects.length) throw bad(`${next} objects instead of ${objects.length}`);
}
