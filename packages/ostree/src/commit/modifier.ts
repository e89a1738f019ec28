import { OstreeError } from '../errors.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from '../formats/mode.ts';
import type { RepoMode } from '../repo/repo.ts';
import { type IdShift, ownerInside } from '../work/shifted-ids.ts';

/** Owner and st_mode of something that is committed. */
export interface Attributes {
  uid: number;
  gid: number;
  mode: number;
}

/** How what is committed shall differ from what is there. */
export interface ModifierOptions {
  /** Owner or group of everything, instead of its own. */
  owner?: { uid?: number; gid?: number };
  /**
   * The files were made in a user namespace: they are stored with the owners, access lists and file capabilities that
   * they have inside. An owner that is none of the namespace's is refused (`unsupported`).
   */
  idShift?: IdShift;
  /**
   * Owner 0:0, permissions `mode & 0755`, no setuid bits; for folders and refs, not for archives, no extended
   * attributes either. What `ostree commit --canonical-permissions` does; always so in a bare-user-only repository.
   */
  canonicalPermissions?: boolean;
  /** Take the write permission off files that somebody may execute. */
  readOnlyExecutables?: boolean;
  /** Store extended attributes. Default true, except in a bare-user-only repository. */
  xattrs?: boolean;
  /** Permissions by path. One that was applied is done with: it counts for the first tree that has the path. */
  statOverrides?: StatOverrides;
  /** Paths (`/usr/share/doc`) to leave out with all below them; each is taken out of the set when it is met. */
  skip?: Set<string>;
}

/** Permissions of some paths, from a file as `ostree commit --statoverride` takes it. */
export class StatOverrides {
  readonly #added = new Map<string, number>();
  readonly #set = new Map<string, number>();

  /**
   * Reads lines of `+BITS PATH` (or without the `+`): these bits are added; and `=MODE PATH`: these are set. Numbers are
   * decimal.
   *
   * @throws OstreeError `invalid`
   */
  static parse(text: string): StatOverrides {
    const overrides = new StatOverrides();
    for (const line of text.split('\n')) {
      if (line === '') continue;
      const space = line.indexOf(' ');
      if (space < 0) throw new OstreeError('invalid', 'Malformed statoverride file (no space found)');
      const [, sign, digits] = /^([=+]?)(\d*)/.exec(line)!;
      const mode = Number(digits || 0) & 0o7777;
      (sign === '=' ? overrides.#set : overrides.#added).set(line.slice(space + 1), mode);
    }
    return overrides;
  }

  /** The mode that a path gets. */
  apply(path: string, mode: number): number {
    const added = this.#added.get(path);
    if (added !== undefined) {
      this.#added.delete(path);
      return mode | added;
    }
    const set = this.#set.get(path);
    return set === undefined ? mode : (mode & S_IFMT) | set;
  }

  /** Paths whose bits were to be added, but which were in no tree. (`ostree` does not miss those to be set.) */
  unmatched(): string[] {
    return [...this.#added.keys()];
  }
}

/** Options of one source of a tree, ready to be applied to each path. */
export interface Modifier {
  /** Whether extended attributes are read. */
  readonly xattrs: boolean;
  /** Whether anything can come out different from what goes in, so that a stored tree can be taken as it is. */
  readonly neutral: boolean;
  /** What a path is stored with; null when it is left out. Paths begin with a slash; the root is `/`. */
  apply(path: string, attributes: Attributes): Attributes | null;
  /**
   * The same for a folder below the root of a folder or ref. libostree's filter is asked about such a folder twice, and
   * what it answers first only decides whether to go in: bits that are to be added to a folder are lost there.
   */
  enter(path: string, attributes: Attributes): Attributes | null;
}

/** @param source archives keep extended attributes with canonical permissions, as libostree's do */
export function modifierOf(options: ModifierOptions, mode: RepoMode, source: 'tree' | 'archive'): Modifier {
  const { owner, idShift, readOnlyExecutables, statOverrides, skip } = options;
  const plain = mode === 'bare-user-only';
  const canonical = plain || options.canonicalPermissions === true;
  const xattrs = !plain && options.xattrs !== false && !(source === 'tree' && canonical);
  const apply = (path: string, { uid: ownUid, gid: ownGid, mode }: Attributes): Attributes | null => {
    const { uid, gid } = idShift
      ? ownerInside(idShift, { uid: ownUid, gid: ownGid }, path)
      : { uid: ownUid, gid: ownGid };
    const type = mode & S_IFMT;
    let bits = mode;
    if (readOnlyExecutables && type === S_IFREG && (bits & 0o111) !== 0) bits &= ~0o222;
    if (statOverrides) bits = statOverrides.apply(path, bits);
    if (skip?.delete(path)) return null;
    if (!canonical) return { uid: owner?.uid ?? uid, gid: owner?.gid ?? gid, mode: bits };
    return { uid: 0, gid: 0, mode: type === S_IFREG || type === S_IFDIR ? bits & (type | 0o755) : bits };
  };
  return {
    xattrs,
    neutral:
      !canonical &&
      xattrs &&
      !readOnlyExecutables &&
      !statOverrides &&
      !skip &&
      !idShift &&
      owner?.uid === undefined &&
      owner?.gid === undefined,
    apply,
    enter: (path, attributes) => (apply(path, attributes) ? apply(path, attributes) : null),
  };
}
