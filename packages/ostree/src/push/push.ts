import { setTimeout as sleep } from 'node:timers/promises';
import { OstreeError } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { encode } from '../gvariant/encode.ts';
import { TransientError } from '../http/errors.ts';
import { completeRoots, isComplete } from '../pull/known-trees.ts';
import { ProgressMeter, type PullProgress } from '../pull/progress.ts';
import { readCommit, readDetachedMetadata } from '../repo/objects.ts';
import { resolveRev } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { expectation } from './expectation.ts';
import { type CommitToSend, type NegotiateOptions, negotiate, negotiateObjects } from './negotiate.ts';
import { decodeObjectList, decodeObjectStates, encodeObjectList, type ObjectId } from './object-list.ts';
import { bytesToSend } from './outgoing.ts';
import { PushRemote, type PushRemoteOptions } from './remote.ts';
import { sendPacks } from './send-packs.ts';
import { type ObjectToSend, SendQueue } from './send-queue.ts';

/** What is pushed, where, and under which condition. */
export interface PushOptions extends PushRemoteOptions {
  /** The ref that is moved at the receiver. */
  ref: string;
  /** What it is moved to: any revision of the repository. Default: what `ref` names here. */
  rev?: string;
  /**
   * What the ref must hold at the receiver; null: it must not be there. Default: what it holds, if the pushed commit
   * descends from that (or it is `lastSeen`), so that nobody's work is lost unseen.
   */
  expect?: Checksum | null;
  /** What the ref held when somebody looked last, for example after the last push: good enough for a default. */
  lastSeen?: Checksum | null;
  /** Move the ref whatever it holds. The receiver may want a permission of its own for that. */
  force?: boolean;
  /** Parents to push, too: 0 (the default) none, -1 all that are here. */
  depth?: number;
  /** Only find out what would be sent. */
  dryRun?: boolean;
  /** Streams that send at the same time, 1 to 8. Default 3. */
  streams?: number;
  /** How often it is tried again after the network or the receiver failed, without anything having got there. Default 8. */
  retries?: number;
  /** Told some ten times a second how far it is. */
  onProgress?: (progress: PushProgress) => void;
}

/** Where a push stands: `objects` and `bytes` are sent; `bytesExpected` is null while that is not known. */
export interface PushProgress extends PullProgress {
  phase: 'asking' | 'sending' | 'finishing';
}

/** What a push did, or would do. */
export interface PushStats {
  ref: string;
  commit: Checksum;
  /** What the ref held before. */
  from: Checksum | null;
  /** Objects that were sent, or with `dryRun` would be. */
  objects: number;
  /** Bytes of them; with `dryRun` null where they are yet to be compressed. */
  bytes: number | null;
  /** Requests that it took. */
  requests: number;
  /** Nothing was sent, because all of it was there. */
  upToDate: boolean;
}

const RETRIES = 8;
const FIRST_WAIT_MS = 200;
const MAX_WAIT_MS = 15_000;
const STREAMS = 3;
/** How often what is missing at the end is sent: a prune that meets a push may take away what was relied on. */
const ROUNDS = 20;

/**
 * Sends a commit, with whatever the receiver lacks of it, and moves a ref there. Objects go as they are in an archive
 * repository, so that the commit's checksum stays what it is; nothing that the receiver has is sent. What was cut off
 * goes on where it was, in this call (see `retries`) and in later ones.
 *
 * @param url of a receiver (see pushHandler), such as `https://treeline.example.org/api/v1/push/`
 * @throws PushConflict when the ref holds something else, with what that is; OstreeError `forbidden`, `not-found` for
 *   a commit that is not whole here, `network`, `no-space` there
 */
export async function push(repo: Repo, url: string, options: PushOptions): Promise<PushStats> {
  const { ref, signal } = options;
  signal?.throwIfAborted();
  const commit = await resolveRev(repo, options.rev ?? ref);
  if (!isComplete(repo, commit)) {
    await readCommit(repo, commit); // says if there is none
    throw new OstreeError('not-found', `${repo.path}: commit ${commit} is not whole here`, {
      hint: 'Pull the rest of it first.',
    });
  }
  const remote = new PushRemote(url, options);
  try {
    return await new Push(repo, remote, { options, commit }).run();
  } finally {
    remote.close();
  }
}

class Push {
  readonly #repo: Repo;
  readonly #remote: PushRemote;
  readonly #options: PushOptions;
  readonly #commit: Checksum;
  readonly #meter: ProgressMeter;
  #phase: PushProgress['phase'] = 'asking';
  #requests = 0;
  #objects = 0;
  /** Bytes that the receiver has acknowledged. */
  #arrived = 0;
  /** The rest of an object was sent, of which the beginning was there. */
  #resumed = false;

  constructor(repo: Repo, remote: PushRemote, { options, commit }: { options: PushOptions; commit: Checksum }) {
    this.#repo = repo;
    this.#remote = remote;
    this.#options = options;
    this.#commit = commit;
    const { onProgress } = options;
    this.#meter = new ProgressMeter(onProgress && ((progress) => onProgress({ ...progress, phase: this.#phase })));
  }

  /** Tries until it is done, or nothing gets there any more. */
  async run(): Promise<PushStats> {
    const { retries = RETRIES, signal } = this.#options;
    for (let attempt = 0; ; attempt++) {
      const before = this.#arrived;
      try {
        return await this.#attempt();
      } catch (error) {
        signal?.throwIfAborted();
        if (this.#arrived > before) attempt = 0;
        if (!this.#isWorthAnotherTry(error) || attempt >= retries) throw error;
        const wait = Math.min(FIRST_WAIT_MS * 2 ** attempt, MAX_WAIT_MS) * (0.75 + Math.random() / 2);
        await sleep(wait, undefined, { signal });
      }
    }
  }

  /** What has been received stays received, and asking again shows what is left. */
  #isWorthAnotherTry(error: unknown): boolean {
    if (error instanceof TransientError) return true;
    // Two halves that were compressed in different ways are no object: the receiver has thrown them away.
    const wasResumed = error instanceof OstreeError && error.code === 'corrupt' && this.#resumed;
    this.#resumed = false;
    return wasResumed;
  }

  async #attempt(): Promise<PushStats> {
    const { ref, dryRun, force = false } = this.#options;
    const commits = await this.#commits();
    const { id, current } = await this.#open();
    let expect: Checksum | null;
    try {
      expect = await expectation(this.#repo, { commit: this.#commit, current, options: this.#options });
    } catch (error) {
      await this.#abandon(id);
      throw error;
    }
    const metadata = await this.#detachedMetadata(commits);
    if (current === this.#commit && metadata.length === 0 && commits.length === 1) {
      await this.#abandon(id);
      return this.#stats(current, true);
    }
    const known = completeRoots(this.#repo, current === null ? [] : [current]);
    if (dryRun) {
      const stats = await this.#count(id, commits, known);
      await this.#abandon(id);
      return { ...this.#stats(current, stats.objects === 0), ...stats };
    }
    await this.#send(id, known, (negotiating) => negotiate(this.#repo, commits, negotiating));
    await this.#sendMetadata(id, metadata);
    const also = commits.slice(1).map(({ checksum }) => checksum);
    for (let round = 0; ; round++) {
      this.#say('finishing');
      const answer = await this.#ask(() => this.#remote.json('POST', `${id}/finish`, { expect, force, also }));
      if (answer.state === 'moved') return this.#stats((answer.from ?? null) as Checksum | null, false);
      if (answer.state !== 'incomplete' || typeof answer.missing !== 'string' || round >= ROUNDS) {
        throw new OstreeError(
          'network',
          `${this.#remote.url}: cannot finish the push of ${ref}: ${JSON.stringify(answer).slice(0, 200)}`,
        );
      }
      const missing = decodeObjectList(Buffer.from(answer.missing, 'base64'));
      await this.#send(id, [], (negotiating) => negotiateObjects(this.#repo, missing, negotiating));
    }
  }

  #stats(from: Checksum | null, upToDate: boolean): PushStats {
    const { ref } = this.#options;
    this.#meter.tell(true);
    return {
      ref,
      commit: this.#commit,
      from,
      objects: this.#objects,
      bytes: this.#meter.bytes,
      requests: this.#requests,
      upToDate,
    };
  }

  #say(phase: PushProgress['phase']): void {
    this.#phase = phase;
    this.#meter.tell(true);
  }

  /** The commit, and the parents that are to come along. */
  async #commits(): Promise<CommitToSend[]> {
    const { depth = 0 } = this.#options;
    const commits: CommitToSend[] = [];
    let next: Checksum | null = this.#commit;
    while (next && (depth < 0 || commits.length <= depth)) {
      if (commits.length > 0 && !isComplete(this.#repo, next)) break;
      const { tree, parent } = await readCommit(this.#repo, next);
      commits.push({ checksum: next, tree });
      next = parent;
    }
    return commits;
  }

  async #ask<T>(request: () => Promise<T>): Promise<T> {
    this.#requests++;
    return request();
  }

  async #open(): Promise<{ id: string; current: Checksum | null }> {
    this.#say('asking');
    const { ref } = this.#options;
    const answer = await this.#ask(() => this.#remote.json('POST', 'open', { ref, commit: this.#commit }));
    const { protocol, id, current } = answer;
    if (protocol !== 1 || typeof id !== 'string' || (current !== null && typeof current !== 'string')) {
      throw new OstreeError('network', `${this.#remote.url}: the receiver speaks another protocol than this program`, {
        hint: 'Are both of the same version?',
      });
    }
    return { id, current };
  }

  async #abandon(id: string): Promise<void> {
    // Nobody goes on with it, and it will be tidied up in any case.
    await this.#ask(() => this.#remote.json('DELETE', id)).catch(() => {});
  }

  #negotiating(id: string, known: readonly Checksum[], found: (object: ObjectToSend) => void): NegotiateOptions {
    const ask = async (objects: readonly ObjectId[]) => {
      const question = encodeObjectList(objects);
      const answer = await this.#ask(() => this.#remote.bytes(`${id}/missing`, question));
      return decodeObjectStates(answer, objects.length);
    };
    return { known, ask, found, signal: this.#options.signal };
  }

  async #count(
    id: string,
    commits: readonly CommitToSend[],
    known: readonly Checksum[],
  ): Promise<{ objects: number; bytes: number | null }> {
    let objects = 0;
    let bytes: number | null = 0;
    const found = (object: ObjectToSend) => {
      const size = bytesToSend(this.#repo, object);
      objects++;
      bytes = bytes === null || size === null ? null : bytes + size;
    };
    await negotiate(this.#repo, commits, this.#negotiating(id, known, found));
    return { objects, bytes };
  }

  /** Sends what a negotiation finds, while it goes on. */
  async #send(
    id: string,
    known: readonly Checksum[],
    negotiation: (options: NegotiateOptions) => Promise<void>,
  ): Promise<void> {
    this.#say('sending');
    const meter = this.#meter;
    const queue = new SendQueue();
    let expected: number | null = meter.bytes;
    meter.counting = true;
    meter.bytesExpected = null;
    const found = (object: ObjectToSend) => {
      const size = bytesToSend(this.#repo, object);
      expected = expected === null || size === null ? null : expected + size;
      meter.objectsKnown++;
      if (object.from > 0) this.#resumed = true;
      queue.add(object);
    };
    const negotiating = negotiation(this.#negotiating(id, known, found)).then(
      () => {
        meter.counting = false;
        meter.bytesExpected = expected;
        queue.close();
      },
      (error: unknown) => queue.fail(error),
    );
    try {
      await sendPacks(this.#repo, queue, {
        streams: this.#options.streams ?? STREAMS,
        signal: this.#options.signal,
        send: (pack) => {
          this.#requests++;
          return this.#remote.stream(`${id}/pack`, pack, (bytes) => {
            meter.bytes += bytes;
            meter.tell();
          });
        },
        sent: () => {
          this.#objects++;
          meter.objects++;
          meter.tell();
        },
        arrived: (bytes) => {
          this.#arrived += bytes;
        },
      });
    } catch (error) {
      queue.fail(error);
      throw error;
    } finally {
      await negotiating;
    }
  }

  async #detachedMetadata(commits: readonly CommitToSend[]): Promise<{ checksum: Checksum; data: Buffer }[]> {
    const found: { checksum: Checksum; data: Buffer }[] = [];
    for (const { checksum } of commits) {
      const metadata = await readDetachedMetadata(this.#repo, checksum);
      if (metadata && metadata.length > 0) found.push({ checksum, data: encode('a{sv}', metadata) });
    }
    return found;
  }

  async #sendMetadata(id: string, metadata: readonly { checksum: Checksum; data: Buffer }[]): Promise<void> {
    if (metadata.length === 0) return;
    const { encodePack } = await import('./pack.ts');
    const pieces = metadata.map(({ checksum, data }) => {
      return { type: 'commitmeta' as const, checksum, total: data.length, offset: 0, data };
    });
    await this.#ask(() => this.#remote.stream(`${id}/pack`, encodePack([pieces]), () => {}));
  }
}
