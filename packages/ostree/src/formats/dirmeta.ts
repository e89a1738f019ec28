import { OstreeError } from '../errors.ts';
import type { Xattr } from '../fs/syscalls.ts';
import { decode } from '../gvariant/decode.ts';
import { encode } from '../gvariant/encode.ts';
import { assertXattrs } from './file.ts';
import { S_IFDIR, S_IFMT } from './mode.ts';

/** Owner, permissions and extended attributes of a folder. */
export interface DirMeta {
  uid: number;
  gid: number;
  /** st_mode: `0o040000 | permissions`. */
  mode: number;
  xattrs: readonly Xattr[];
}

/** `OSTREE_DIRMETA_GVARIANT_FORMAT` in ostree-core.h; the three integers are big-endian. */
const FORMAT = '(uuua(ayay))';

export function encodeDirMeta(meta: DirMeta): Buffer {
  if ((meta.mode & S_IFMT) !== S_IFDIR) {
    throw new OstreeError('invalid', `mode 0${meta.mode.toString(8)} is not that of a folder`);
  }
  const xattrs = meta.xattrs.map(([name, value]) => [Buffer.concat([name, Buffer.alloc(1)]), value]);
  const data = encode(FORMAT, [0, 0, 0, xattrs]);
  data.writeUInt32BE(meta.uid, 0);
  data.writeUInt32BE(meta.gid, 4);
  data.writeUInt32BE(meta.mode, 8);
  return data;
}

export function decodeDirMeta(data: Uint8Array, object: string): DirMeta {
  const [, , , xattrs] = decode(FORMAT, data, { object }) as [number, number, number, [Uint8Array, Uint8Array][]];
  const view = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const meta = {
    uid: view.readUInt32BE(0),
    gid: view.readUInt32BE(4),
    mode: view.readUInt32BE(8),
    xattrs: assertXattrs(xattrs, object),
  };
  if ((meta.mode & S_IFMT) !== S_IFDIR || (meta.mode & ~(S_IFMT | 0o7777)) !== 0) {
    throw new OstreeError('corrupt', `${object}: mode 0${meta.mode.toString(8)} at byte 8 is not that of a folder`, {
      object,
      offset: 8,
    });
  }
  return meta;
}
