/** What kind of file a name in a served repository stands for. */
export type ServedKind =
  /** Named by the hash of what it holds, or by two such hashes: the same name is the same thing for ever. */
  | 'object'
  | 'delta'
  /** May be replaced at any time: config, refs, summary, signatures, delta indexes, detached metadata. */
  | 'mutable'
  | 'ref';

export interface ServedName {
  /** Path below the repository, checked: no dot names, no empty parts, nothing but what a repository holds. */
  path: string;
  kind: ServedKind;
}

/** Longer than any name of a repository: a ref may be nested, and a delta's is some 100 characters. */
const MAX_LENGTH = 2048;

const OBJECT = /^objects\/[0-9a-f]{2}\/[0-9a-f]{62}\.(?:filez|dirtree|dirmeta|commit)$/;
const DETACHED = /^objects\/[0-9a-f]{2}\/[0-9a-f]{62}\.(?:commitmeta|tombstone-commit)$/;
/** 32 bytes in base64 with `_` for `/` and no padding, two characters of it as a folder; from-to or to alone. */
const DELTA = /^deltas\/[\w+]{2}\/[\w+]{41}(?:-[\w+]{43})?\/(?:superblock|meta|\d{1,9})$/;
const DELTA_INDEX = /^delta-indexes\/[\w+]{2}\/[\w+]{41}\.index$/;
const MUTABLE = /^(?:config|summary|summary\.sig)$/;
const REF = /^refs\/(?:heads|mirrors|remotes)(?:\/(?!\.)[\w.-]+)+$/;

/**
 * Reads the path of a request, relative to the repository (`/objects/…` or `objects/…`, percent-encoded, a query
 * is ignored).
 *
 * @returns the file it names, `'malformed'` for what no honest client sends, or null for anything else
 */
export function servedName(urlPath: string): ServedName | 'malformed' | null {
  if (urlPath.length > MAX_LENGTH) return 'malformed';
  const query = urlPath.indexOf('?');
  let path = query < 0 ? urlPath : urlPath.slice(0, query);
  if (path.includes('%')) {
    // A slash, a backslash, a dot or a NUL that hides is never innocent.
    if (/%(?:2f|5c|2e|00)/i.test(path)) return 'malformed';
    try {
      path = decodeURIComponent(path);
    } catch {
      return 'malformed';
    }
  }
  if (path.includes('\0')) return 'malformed';
  if (path.startsWith('/')) path = path.slice(1);
  if (OBJECT.test(path)) return { path, kind: 'object' };
  if (DETACHED.test(path) || MUTABLE.test(path) || DELTA_INDEX.test(path)) return { path, kind: 'mutable' };
  if (DELTA.test(path)) return { path, kind: 'delta' };
  if (REF.test(path)) return { path, kind: 'ref' };
  return null;
}
