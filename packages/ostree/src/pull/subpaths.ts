import { OstreeError } from '../errors.ts';

/** How a path stands to the subpaths that are wanted. */
export type Standing = 'wanted' | 'on the way' | 'unwanted';

/**
 * Parts of a tree that are to be pulled: everything at and below some paths, and the folders that lead there.
 * libostree takes the same files; to it `/` alone means nothing, here everything.
 */
export class Subpaths {
  readonly #paths: readonly string[];

  /** Throws `invalid` for a path that is not absolute, or leaves the tree. */
  constructor(paths: readonly string[]) {
    this.#paths = paths.map((path) => {
      const parts = path.split('/').filter((part) => part !== '');
      if (!path.startsWith('/') || parts.includes('..') || parts.includes('.') || path.includes('\0')) {
        throw new OstreeError('invalid', `subpath ${JSON.stringify(path)} is not an absolute path inside a tree`);
      }
      return `/${parts.join('/')}`;
    });
  }

  /** @param path without a slash at its end, but for the root itself */
  standing(path: string): Standing {
    const base = path === '/' ? '/' : `${path}/`;
    let found: Standing = 'unwanted';
    for (const one of this.#paths) {
      if (one === path || one === '/' || path.startsWith(`${one}/`)) return 'wanted';
      if (one.startsWith(base)) found = 'on the way';
    }
    return found;
  }
}

/** Where a folder is, while only some subpaths are wanted; null where everything below is. */
export type Place = string | null;

/** The place of an entry of a folder, or undefined when it is not wanted. */
export function placeBelow(
  subpaths: Subpaths | undefined,
  folder: Place,
  name: string,
  isFolder: boolean,
): Place | undefined {
  if (!subpaths || folder === null) return null;
  const path = folder === '/' ? `/${name}` : `${folder}/${name}`;
  const standing = subpaths.standing(path);
  if (standing === 'wanted') return null;
  return standing === 'on the way' && isFolder ? path : undefined;
}

/** The place of a tree's root. */
export function rootPlace(subpaths: Subpaths | undefined): Place {
  return !subpaths || subpaths.standing('/') === 'wanted' ? null : '/';
}
