import { OstreeError } from '../errors.ts';
import type { Xattr } from '../fs/syscalls.ts';

/** What a tar archive says about one entry, apart from its content. */
export interface TarHeader {
  /** Path without a leading slash; a folder's may end in one. */
  path: string;
  kind: 'file' | 'folder' | 'symlink' | 'link';
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of content that follow; 0 for what is no file. */
  size: number;
  /** Of a symlink or hard link. */
  target?: string;
  xattrs?: readonly Xattr[];
  /** Seconds since 1970. Default 0: a tree has no times. */
  mtime?: number;
}

const BLOCK = 512;
const TYPE_FLAGS: Record<TarHeader['kind'], string> = { file: '0', folder: '5', symlink: '2', link: '1' };
/** Largest numbers of the octal fields of 8 and 12 bytes. */
const MAX_ID = 0o7777777;
const MAX_SIZE = 0o77777777777;

/**
 * The blocks before an entry's content: a ustar header, and before it a pax header for what does not fit into one:
 * long paths, names beyond ASCII, sizes from 8 GiB, large ids, and extended attributes as `SCHILY.xattr.<name>` with the
 * value as it is (what GNU tar, bsdtar and libarchive write and read).
 */
export function tarHeader(header: TarHeader): Buffer {
  const { kind, mode, uid, gid, size, target = '', xattrs = [], mtime = 0 } = header;
  const path = kind === 'folder' && !header.path.endsWith('/') ? `${header.path}/` : header.path;
  const records: Buffer[] = [];
  const add = (key: string | Uint8Array, value: string | Uint8Array) => void records.push(paxRecord(key, value));
  if (!fits(path)) add('path', path);
  if (!fits(target)) add('linkpath', target);
  if (size > MAX_SIZE) add('size', String(size));
  if (uid > MAX_ID) add('uid', String(uid));
  if (gid > MAX_ID) add('gid', String(gid));
  for (const [name, value] of xattrs) {
    if (Buffer.from(name).includes('=')) {
      throw new OstreeError('unsupported', `${path}: an extended attribute whose name has a "=" cannot go into a tar`);
    }
    add(Buffer.concat([Buffer.from('SCHILY.xattr.'), name]), value);
  }
  const own = block({ path, flag: TYPE_FLAGS[kind], mode, uid, gid, size, target, mtime });
  if (records.length === 0) return own;
  const data = Buffer.concat(records);
  const name = `PaxHeaders/${path.replace(/[^\x20-\x7e]/g, '_').slice(-80)}`;
  const before = block({ path: name, flag: 'x', mode: 0o644, uid: 0, gid: 0, size: data.length, target: '', mtime });
  return Buffer.concat([before, data, tarPadding(data.length), own]);
}

/** The zeros that fill up the last block of content. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** What an archive ends with. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

/** Whether a name can be in the ustar field, which is bytes without an encoding. */
function fits(name: string): boolean {
  return name.length <= 100 && /^[\x20-\x7e]*$/.test(name);
}

/** `<length> <key>=<value>\n`, where the length counts itself. */
function paxRecord(key: string | Uint8Array, value: string | Uint8Array): Buffer {
  const body = Buffer.concat([
    Buffer.from(' '),
    Buffer.from(key),
    Buffer.from('='),
    Buffer.from(value),
    Buffer.from('\n'),
  ]);
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return Buffer.concat([Buffer.from(String(length)), body]);
}

interface Fields {
  path: string;
  flag: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  target: string;
  mtime: number;
}

function block({ path, flag, mode, uid, gid, size, target, mtime }: Fields): Buffer {
  const data = Buffer.alloc(BLOCK);
  Buffer.from(path).copy(data, 0, 0, 100);
  octal(data, 100, 8, mode & 0o7777);
  octal(data, 108, 8, Math.min(uid, MAX_ID));
  octal(data, 116, 8, Math.min(gid, MAX_ID));
  octal(data, 124, 12, Math.min(size, MAX_SIZE));
  octal(data, 136, 12, mtime);
  data.write(flag, 156, 'latin1');
  Buffer.from(target).copy(data, 157, 0, 100);
  data.write('ustar\x0000', 257, 'latin1');
  // The checksum is made with its own field as spaces.
  data.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of data) sum += byte;
  data.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return data;
}

function octal(data: Buffer, at: number, length: number, value: number): void {
  data.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
}
