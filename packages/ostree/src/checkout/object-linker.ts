import { hash } from 'node:crypto';
import { decodeFileMetadata, encodeFileHeader } from '../formats/file.ts';
import { S_IFMT, S_IFREG } from '../formats/mode.ts';
import type { Checksum } from '../formats/object-name.ts';
import { pathCalls } from '../fs/path-calls.ts';
import type { Repo } from '../repo/repo.ts';

/** What the metadata of a bare-user object says about whether its file can be a link to it. */
interface Linkable {
  /** A regular file that its owner can read. */
  regular: boolean;
  /** The checksum that an empty file with this metadata has. */
  empty: Checksum;
}

/** Longer metadata, with many attributes, is rare. */
const METADATA_BYTES = 1024;
/** Linux takes no longer path. */
const PATH_BYTES = 4096;

/**
 * Makes files that are hard links to the objects of a bare-user repository, in two system calls each. A checkout of a
 * system is tens of thousands of them, so nothing is made for each but what those calls read.
 */
export interface ObjectLinker {
  /** Says which folder the next files are in. */
  enter(folder: string): void;
  /**
   * Makes a link. False when it has not: because the file cannot be one, is there already, or for whatever else the
   * general way (`checkOutFiles`) then does better or says by name.
   */
  link(checksum: Checksum, name: string): boolean;
}

/** Null for repositories of other modes, and where the system calls cannot be called. */
export function objectLinker(repo: Repo): ObjectLinker | null {
  const calls = repo.mode === 'bare-user' ? pathCalls() : null;
  if (!calls) return null;
  const object = Buffer.alloc(PATH_BYTES + 128);
  const to = Buffer.alloc(2 * PATH_BYTES);
  const attribute = Buffer.from('user.ostreemeta\0');
  const metadata = Buffer.alloc(METADATA_BYTES);
  const known = new Map<string, Linkable>();
  // PREFIX/objects/ab/cdef….file
  const digits = object.write(`${repo.path}/objects/`);
  if (digits > PATH_BYTES) return null;
  object.write('/', digits + 2);
  object.write('.file\0', digits + 65);
  let names = 0;
  return {
    enter(folder) {
      names = Buffer.byteLength(folder) < PATH_BYTES ? to.write(`${folder}/`) : 0;
    },
    link(checksum, name) {
      if (names === 0 || name.length > 255) return false;
      object.write(checksum.slice(0, 2), digits, 'latin1');
      object.write(checksum.slice(2), digits + 3, 'latin1');
      const length = calls.lgetxattr(object, attribute, metadata, METADATA_BYTES);
      if (length <= 0) return false;
      const key = metadata.toString('latin1', 0, length);
      let facts = known.get(key);
      if (!facts) {
        facts = linkable(Buffer.from(metadata.subarray(0, length)), `${checksum}.file`);
        known.set(key, facts);
      }
      // An empty file is the object of many paths: it would run out of links.
      if (!facts.regular || facts.empty === checksum) return false;
      to[names + to.write(name, names)] = 0;
      return calls.link(object, to) === 0;
    },
  };
}

function linkable(data: Buffer, object: string): Linkable {
  try {
    const metadata = decodeFileMetadata(data, object);
    const regular = (metadata.mode & S_IFMT) === S_IFREG && (metadata.mode & 0o400) !== 0;
    return { regular, empty: hash('sha256', encodeFileHeader({ ...metadata, symlinkTarget: '' })) };
  } catch {
    return { regular: false, empty: '' }; // the general way says what is wrong with it
  }
}
