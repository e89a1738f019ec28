import type { Checksum } from '../formats/object-name.ts';
import type { Repo } from '../repo/repo.ts';
import { ProgressMeter, type PullProgress } from './progress.ts';
import type { PullStats } from './pull.ts';
import { localRemote } from './remote.ts';
import { transfer } from './transfer.ts';

/** What of a repository is copied, and how far it is trusted. */
export interface CopyClosureOptions {
  /**
   * Link or copy objects without hashing them. Only for repositories that the same owner has written through this
   * library or libostree, which let nothing in unhashed. Without it every object is hashed on its way, as `ostree
   * pull-local --untrusted` does; note that libostree's own default is the other way round.
   */
  trusted?: boolean;
  /** Refs to set in the receiving repository, together with the commits. */
  refs?: ReadonlyMap<string, Checksum>;
  /** How many parents to copy, too: 0 (the default) none, -1 all that the source has. */
  depth?: number;
  signal?: AbortSignal;
  /** Told some ten times a second how far it is. */
  onProgress?: (progress: PullProgress) => void;
}

/**
 * Copies commits with all that they need from one repository to another on the same machine. Between repositories
 * of the same mode on one file system objects are hard-linked, otherwise copied or converted. What the receiving
 * repository has is left alone; commits are stored last, and everything is on disk when this resolves.
 *
 * @throws OstreeError `not-found` when the source is incomplete, `corrupt`, `unsupported`
 */
export async function copyClosure(
  src: Repo,
  dst: Repo,
  commits: readonly Checksum[],
  options: CopyClosureOptions = {},
): Promise<PullStats> {
  const { signal } = options;
  signal?.throwIfAborted();
  const meter = new ProgressMeter(options.onProgress);
  const refs = [...(options.refs ?? [])].map(([target, commit]) => ({ target, commit }));
  const related = new Map<Checksum, { name: string; here: string[] }>();
  for (const { target, commit } of refs) {
    const known = related.get(commit);
    if (known) known.here.push(target);
    else related.set(commit, { name: target, here: [target] });
  }
  const stats = await transfer(dst, localRemote(src), {
    heads: new Map(commits.map((commit) => [commit, null])),
    refs,
    related,
    depth: options.depth ?? 0,
    commitMetadataOnly: false,
    subpaths: undefined,
    bareUserOnlyFiles: false,
    trusted: options.trusted === true,
    deltas: 'never',
    summary: null,
    caches: [],
    verification: null,
    check: () => {},
    dryRun: false,
    meter,
    signal,
  });
  meter.tell(true);
  const { prediction: _none, ...counts } = stats;
  return {
    commits: new Map(commits.map((commit) => [commit, commit])),
    ...counts,
    bytesTransferred: meter.bytes,
    local: true,
  };
}
