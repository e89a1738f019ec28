import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { OstreeError } from '../errors.ts';
import { type Commit, decodeCommit, type Metadata } from '../formats/commit.ts';
import { type Checksum, loosePath } from '../formats/object-name.ts';
import { decode } from '../gvariant/decode.ts';
import { assertHash, hasObject, MAX_METADATA_BYTES, objectPath, readDetachedMetadata } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { type Verification, verifySigned } from '../sign/remote-verification.ts';
import { MAX_REQUESTS } from './http.ts';
import { inParallel } from './in-parallel.ts';
import { isComplete } from './known-trees.ts';
import { missing } from './missing-object.ts';
import type { ProgressMeter } from './progress.ts';
import type { Remote } from './remote.ts';

/** A commit that a pull is about. */
export interface PulledCommit {
  readonly checksum: Checksum;
  readonly commit: Commit;
  /** The bytes, when it was not here already. */
  readonly data: Buffer | null;
  /** Its detached metadata at the remote, when that is not what is here. */
  readonly detached: Metadata | null;
}

/** A commit object that came some other way than by itself, such as in a delta, with its detached metadata. */
export interface KnownCommit {
  data: Uint8Array;
  detached: Metadata | null;
}

export interface HistoryOptions {
  /** What is asked for, each with the bytes of the commit object if they are known. */
  heads: ReadonlyMap<Checksum, number | null>;
  /** How many parents, -1 for all that the remote has. */
  depth: number;
  verification: Verification | null;
  /** Commits that need not be asked for. */
  known: ReadonlyMap<Checksum, KnownCommit>;
  /** Repositories on this machine in which to look before the remote is asked. */
  caches: readonly Repo[];
  /** From a local repository, take commits without hashing them. */
  trusted: boolean;
  /** From a local repository, take parents of which only the commit object is there. */
  partialParents: boolean;
  meter: ProgressMeter;
}

export interface History {
  commits: Map<Checksum, PulledCommit>;
  /** Parents that the remote says it has deleted, with the objects that say so. */
  tombstones: Map<Checksum, Buffer>;
  /** Detached metadata that was received, and that the remote does not have. */
  detachedFetched: number;
  detachedMissing: number;
  /** Commits that came from one of the caches. */
  fromCaches: number;
}

/** Commits that no summary has told the size of: enough for one that lists the sizes of 400,000 objects. */
const MAX_COMMIT_BYTES = 16 * 1024 * 1024;

/**
 * Fetches commits, and parents as deep as asked, and verifies their signatures. Nothing is stored: a commit is stored
 * after what it needs. The detached metadata of what is asked for is fetched even when the commit is here: new
 * signatures may have come.
 *
 * @throws OstreeError `not-found` for a commit that is asked for, or a parent without tombstone where the remote has
 *   those; `signature`, `corrupt`, `network`
 */
export async function fetchHistory(repo: Repo, remote: Remote, options: HistoryOptions): Promise<History> {
  const walk = new HistoryWalk(repo, remote, options);
  await inParallel([...options.heads.keys()], MAX_REQUESTS, (head) => walk.follow(head));
  return walk;
}

class HistoryWalk implements History {
  readonly commits = new Map<Checksum, PulledCommit>();
  readonly tombstones = new Map<Checksum, Buffer>();
  detachedFetched = 0;
  detachedMissing = 0;
  fromCaches = 0;
  readonly #repo: Repo;
  readonly #remote: Remote;
  readonly #options: HistoryOptions;
  readonly #fetching = new Map<Checksum, Promise<PulledCommit | null>>();

  constructor(repo: Repo, remote: Remote, options: HistoryOptions) {
    this.#repo = repo;
    this.#remote = remote;
    this.#options = options;
  }

  async follow(head: Checksum): Promise<void> {
    const { depth } = this.#options;
    let next: Checksum | null = head;
    // A checksum cannot be that of its own descendant, but what is taken unhashed can be anything.
    const chain = new Set<Checksum>();
    for (let left = depth < 0 ? Number.POSITIVE_INFINITY : depth; next && left >= 0; left--) {
      if (chain.has(next)) return;
      chain.add(next);
      const one: PulledCommit | null = await this.#get(next);
      // History ends where the remote's does.
      if (!one) return this.#endOfHistory(next, next === head);
      this.commits.set(next, one);
      next = one.commit.parent;
    }
  }

  #get(checksum: Checksum): Promise<PulledCommit | null> {
    let fetching = this.#fetching.get(checksum);
    if (!fetching) {
      fetching = this.#fetch(checksum, this.#options.heads.has(checksum));
      this.#fetching.set(checksum, fetching);
    }
    return fetching;
  }

  async #endOfHistory(checksum: Checksum, isHead: boolean): Promise<void> {
    const { source, repo, where } = this.#remote;
    if (isHead && source) throw missing(source, checksum, 'commit');
    if (isHead) {
      const object = `${checksum}.commit`;
      throw new OstreeError('not-found', `${where}: No such metadata object ${object}: it has no object ${object}`, {
        object,
      });
    }
    if (!this.#remote.tombstoneCommits || this.tombstones.has(checksum)) return;
    if (repo && hasObject(repo, 'commit', checksum)) return; // partial
    const object = `${checksum}.tombstone-commit`;
    const tombstone = await this.#remote.file(`objects/${loosePath(checksum, 'tombstone-commit')}`, MAX_COMMIT_BYTES);
    if (!tombstone) {
      throw new OstreeError('not-found', `${where}: has neither the commit ${checksum} nor its tombstone`, {
        object,
        hint: 'The remote lost a part of its history without saying so. Pull less of it with --depth.',
      });
    }
    this.tombstones.set(checksum, tombstone);
  }

  async #fetch(checksum: Checksum, isHead: boolean): Promise<PulledCommit | null> {
    const { meter, verification } = this.#options;
    const here = hasObject(this.#repo, 'commit', checksum);
    if (here && !isHead) {
      const known = await this.#stored(checksum);
      if (!verification || (await this.#isVerified(known, await this.#ownDetached(checksum)))) return known;
    }
    // Signatures first: a commit that they do not fit need not be fetched.
    const detached = await this.#fetchDetached(checksum);
    const own = here ? await this.#ownDetached(checksum) : null;
    const received = here ? null : await this.#fetchObject(checksum, isHead);
    if (!here && !received) return null;
    const base = here ? await this.#stored(checksum) : received!;
    const signatures = detached ?? own ?? this.#options.known.get(checksum)?.detached ?? null;
    if (verification) await verifySigned(verification, base.raw, signatures, `commit ${checksum}`);
    meter.tell();
    const changed = detached !== null && !(own && sameMetadata(detached, own));
    return {
      checksum,
      commit: base.commit,
      data: base.data,
      detached: changed ? detached : here ? null : signatures,
    };
  }

  async #isVerified(known: ReadCommit, own: Metadata | null): Promise<boolean> {
    try {
      await verifySigned(this.#options.verification!, known.raw, own, `commit ${known.checksum}`);
      return true;
    } catch (error) {
      if (error instanceof OstreeError && error.code === 'signature') return false;
      throw error;
    }
  }

  async #stored(checksum: Checksum): Promise<ReadCommit> {
    const raw = await readFile(objectPath(this.#repo, 'commit', checksum));
    if (!this.#options.trusted) assertHash(raw, checksum, 'commit');
    return { checksum, raw, commit: decodeCommit(raw, `${checksum}.commit`), data: null, detached: null };
  }

  /** A local file that is damaged is as good as none: the remote's takes its place. */
  async #ownDetached(checksum: Checksum): Promise<Metadata | null> {
    try {
      return await readDetachedMetadata(this.#repo, checksum);
    } catch (error) {
      if (error instanceof OstreeError && error.code === 'corrupt') return null;
      throw error;
    }
  }

  async #fetchDetached(checksum: Checksum): Promise<Metadata | null> {
    const data = await this.#remote.file(`objects/${loosePath(checksum, 'commitmeta')}`, MAX_METADATA_BYTES);
    if (!data) {
      this.detachedMissing++;
      return null;
    }
    this.detachedFetched++;
    if (this.#remote.source) this.#options.meter.bytes += data.length;
    try {
      return decode('a{sv}', data, { object: `${checksum}.commitmeta` }) as unknown as Metadata;
    } catch (error) {
      // It proves nothing, and who demands no proof is not to be stopped by it; it is not passed on either.
      if (error instanceof OstreeError && error.code === 'corrupt') return null;
      throw error;
    }
  }

  async #fetchObject(checksum: Checksum, isHead: boolean): Promise<ReadCommit | null> {
    const { repo: local } = this.#remote;
    const { caches, meter, known, heads, trusted, partialParents } = this.#options;
    if (local && !isHead && !partialParents && !isComplete(local, checksum)) return null;
    meter.objectsKnown++;
    let raw: Buffer | null = null;
    const given = known.get(checksum);
    const cache = caches.find((one) => existsSync(objectPath(one, 'commit', checksum)));
    if (given) raw = Buffer.from(given.data);
    else if (cache) {
      raw = await readFile(objectPath(cache, 'commit', checksum));
      this.fromCaches++;
    } else {
      const limit = Math.min(heads.get(checksum) ?? MAX_COMMIT_BYTES, MAX_METADATA_BYTES);
      raw = await this.#remote.file(`objects/${loosePath(checksum, 'commit')}`, limit);
      if (raw && this.#remote.source) meter.bytes += raw.length;
    }
    if (!raw) return null;
    if (!(trusted && local)) assertHash(raw, checksum, 'commit');
    meter.objects++;
    return { checksum, raw, commit: decodeCommit(raw, `${checksum}.commit`), data: raw, detached: null };
  }
}

interface ReadCommit extends PulledCommit {
  raw: Buffer;
}

/** Whether two dictionaries hold the same; both were read from their one normal form. */
function sameMetadata(a: Metadata, b: Metadata): boolean {
  const portable = (value: Metadata) =>
    JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? `${inner}n` : inner));
  return portable(a) === portable(b);
}
