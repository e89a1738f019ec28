import { OstreeError } from '../errors.ts';
import type { KeyFile } from '../formats/keyfile.ts';

/** What a repository's config says, with libostree's defaults, checked. */
export interface RepoSettings {
  /** Room that is left free on the file system: a share of it, or bytes. */
  minFreeSpace: { percent: number } | { bytes: number };
  /** A deleted commit leaves a tombstone, so that who pulls it learns that it was deleted. */
  tombstoneCommits: boolean;
  /** Updates the summary whenever a transaction changed refs. */
  autoUpdateSummary: boolean;
  collectionId: string | null;
  /** Flushes each object by itself instead of the file system once. */
  perObjectFsync: boolean;
  /** Deflate level of new objects in an archive repository, 1 to 9. */
  zlibLevel: number;
  /** Static deltas are listed in indexes of their own rather than only in the summary. */
  indexedDeltas: boolean;
}

/**
 * Reads a repository's settings (`reload_core_config` and its neighbours in libostree).
 *
 * @throws OstreeError `invalid`, in libostree's words, for a value that makes no sense
 */
export function repoSettings(config: KeyFile): RepoSettings {
  const core = config.get('core') ?? new Map<string, string>();
  const collectionId = core.get('collection-id');
  return {
    minFreeSpace: minFreeSpace(core.get('min-free-space-size'), core.get('min-free-space-percent')),
    tombstoneCommits: flag(core.get('tombstone-commits'), 'core.tombstone-commits', false),
    autoUpdateSummary:
      flag(core.get('auto-update-summary'), 'core.auto-update-summary', false) ||
      // The name that libostree gave it first.
      flag(core.get('commit-update-summary'), 'core.commit-update-summary', false),
    collectionId: collectionId ? collectionId : null,
    perObjectFsync: flag(core.get('per-object-fsync'), 'core.per-object-fsync', false),
    zlibLevel: zlibLevel(config.get('archive')?.get('zlib-level')),
    indexedDeltas: flag(core.get('indexed-deltas'), 'core.indexed-deltas', true),
  };
}

function flag(text: string | undefined, name: string, otherwise: boolean): boolean {
  if (text === undefined) return otherwise;
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  throw new OstreeError('invalid', `Invalid ${name} '${text}': must be true or false`);
}

function minFreeSpace(size: string | undefined, percent: string | undefined): RepoSettings['minFreeSpace'] {
  if (size !== undefined) {
    const match = /^(\d{1,7})([MGT])B$/.exec(size);
    if (!match) {
      throw new OstreeError(
        'invalid',
        `Invalid min-free-space-size '${size}': It should be of the format '123MB', '123GB' or '123TB'`,
      );
    }
    const bytes = Number(match[1]) * { M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }[match[2] as 'M' | 'G' | 'T'];
    if (bytes > 0) return { bytes };
  }
  if (percent === undefined) return { percent: size === undefined ? 3 : 0 };
  if (!/^\d+$/.test(percent)) {
    throw new OstreeError('invalid', `Invalid min-free-space-percent '${percent}': must be a number`);
  }
  if (Number(percent) > 99) throw new OstreeError('invalid', `Invalid min-free-space-percent '${percent}'`);
  return { percent: Number(percent) };
}

function zlibLevel(text: string | undefined): number {
  if (text === undefined) return 6;
  if (/^[1-9]$/.test(text)) return Number(text);
  throw new OstreeError('invalid', `Invalid archive.zlib-level '${text}': must be a number from 1 to 9`);
}
