import { OstreeError } from '../errors.ts';
import { LazyArray, tupleMembers } from '../gvariant/lazy.ts';

/** Called with where the 32 bytes of a checksum are in the data. */
export interface DirTreeVisitor {
  file(data: Buffer, at: number): void;
  folder(data: Buffer, contentsAt: number, metaAt: number): void;
}

/**
 * Visits what a dirtree refers to without making names and strings of it: for who walks whole repositories. Names are
 * not looked at; whoever writes by them uses decodeDirTree.
 *
 * @throws OstreeError `corrupt`
 */
export function visitDirTree(data: Buffer, object: string, visitor: DirTreeVisitor): void {
  const [files, folders] = tupleMembers('(a(say)a(sayay))', data, object) as [Buffer, Buffer];
  const list = new LazyArray('(say)', files, object);
  for (let index = 0; index < list.length; index++) {
    const item = list.item(index);
    const width = item.length <= 0xff ? 1 : 2;
    const at = item.length - width - 32;
    // The framing offset says where the name ends; the checksum is the rest, and must be 32 bytes.
    if (at < 1 || item.length > 0xffff || item.readUIntLE(item.length - width, width) !== at) throw malformed(object);
    visitor.file(item, at);
  }
  const others = new LazyArray('(sayay)', folders, object);
  for (let index = 0; index < others.length; index++) {
    const item = others.item(index);
    const width = item.length <= 0xff ? 1 : 2;
    const at = item.length - 2 * width - 64;
    const isSound =
      at >= 1 &&
      item.length <= 0xffff &&
      item.readUIntLE(item.length - width, width) === at &&
      item.readUIntLE(item.length - 2 * width, width) === at + 32;
    if (!isSound) throw malformed(object);
    visitor.folder(item, at, at + 32);
  }
}

function malformed(object: string): OstreeError {
  return new OstreeError('corrupt', `${object}: an entry without a checksum of 32 bytes`, { object });
}
