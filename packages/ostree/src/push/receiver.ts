import { setImmediate as nextTurn } from 'node:timers/promises';
import { OstreeError } from '../errors.ts';
import type { Commit } from '../formats/commit.ts';
import { type Checksum, isChecksum } from '../formats/object-name.ts';
import { isComplete } from '../pull/known-trees.ts';
import { hasObject } from '../repo/objects.ts';
import { isRefName, readRef } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { receivedName } from '../work/receive-object.ts';
import { brokenObjects } from './broken.ts';
import { type FinishRequest, type FinishResult, finishPush, type RecordMove, readReceivedCommit } from './finish.ts';
import type { ObjectId, ObjectState } from './object-list.ts';
import { type PackReceipt, receivePack } from './receive-pack.ts';
import { createSession, loadSessions, type PushIdentity, type PushSession, sessionId } from './session.ts';

/** How much pushes may take, and how long what they leave stays. */
export interface PushLimits {
  /** Bytes that one push may stage. Default 64 GiB. */
  sessionBytes: number;
  /** Bytes that all pushes together may stage. Default 256 GiB. What the disk has free is looked at, too. */
  totalBytes: number;
  /** Pushes that one caller may have begun. Default 16. */
  sessionsPerOwner: number;
  /** A push that nobody has gone on with for so long is given up. Default 24 hours. */
  idleMs: number;
}

/** How pushes are received. */
export interface PushReceiverOptions {
  limits?: Partial<PushLimits>;
  /** The clock, in milliseconds. */
  now?: () => number;
}

const DEFAULT_LIMITS: PushLimits = {
  sessionBytes: 64 * 1024 ** 3,
  totalBytes: 256 * 1024 ** 3,
  sessionsPerOwner: 16,
  idleMs: 24 * 3_600_000,
};

/** Where a push stands when it begins. */
export interface OpenedPush {
  id: string;
  /** What the ref holds now; null = there is no such ref. */
  current: Checksum | null;
}

/** How long the existence of objects is looked at before others have their turn. */
const SLICE_MS = 8;
const TIDY_EVERY_MS = 600_000;

/**
 * The receiving side of pushes into an archive repository: it keeps what arrives apart, hashed, until a push is whole,
 * and then makes it part of the repository and moves the ref. One process at a time may receive for a repository.
 */
export class PushReceiver {
  readonly repo: Repo;
  readonly limits: PushLimits;
  readonly #sessions = new Map<string, PushSession>();
  /** The last of the pushes to a ref, or of a session, that are being finished: only one at a time is. */
  readonly #finishing = new Map<string, Promise<unknown>>();
  readonly #opening = new Map<string, Promise<void>>();
  /** What requests do at the moment. */
  readonly #working = new Set<Promise<unknown>>();
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;

  private constructor(repo: Repo, options: PushReceiverOptions) {
    this.repo = repo;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#now = options.now ?? Date.now;
    this.#timer = setInterval(() => void this.tidy().catch(() => {}), TIDY_EVERY_MS).unref();
  }

  /**
   * Takes up what pushes have left, and removes what is too old or was never one.
   *
   * @throws OstreeError `unsupported` for a repository of another mode than archive
   */
  static async open(repo: Repo, options: PushReceiverOptions = {}): Promise<PushReceiver> {
    if (repo.mode !== 'archive') {
      throw new OstreeError('unsupported', `${repo.path}: of mode ${repo.mode}: only an archive is pushed to`, {
        hint: 'Push to an archive repository, and pull from that.',
      });
    }
    const receiver = new PushReceiver(repo, options);
    const oldest = receiver.#now() - receiver.limits.idleMs;
    for (const session of await loadSessions(repo, oldest)) receiver.#sessions.set(session.id, session);
    return receiver;
  }

  /**
   * Lets go of timers, and resolves when no request works with what has been sent any more: from then on another receiver
   * may take it up. End the requests first.
   */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    while (this.#working.size > 0) await Promise.allSettled(this.#working);
  }

  /** Bytes that all pushes have staged. */
  get stagedBytes(): number {
    let bytes = 0;
    for (const session of this.#sessions.values()) bytes += session.bytes;
    return bytes;
  }

  /** Removes pushes that nobody goes on with. Done by itself now and then. Returns how many. */
  async tidy(): Promise<number> {
    const oldest = this.#now() - this.limits.idleMs;
    let removed = 0;
    for (const session of [...this.#sessions.values()]) {
      if (session.active > 0 || session.usedAt >= oldest) continue;
      this.#sessions.delete(session.id);
      await session.remove();
      removed++;
    }
    return removed;
  }

  /**
   * Begins a push, or goes on with it: the same caller, ref and commit have the same session.
   *
   * @throws OstreeError `invalid`, `no-space` when the caller has begun too many
   */
  async open(identity: PushIdentity): Promise<OpenedPush> {
    const { ref, commit } = identity;
    if (ref !== null && !isRefName(ref)) throw new OstreeError('invalid', `${JSON.stringify(ref)} is no name of a ref`);
    if (commit !== null && !isChecksum(commit)) throw new OstreeError('invalid', 'the commit is no checksum');
    const id = sessionId(identity);
    if (this.#sessions.get(id)?.touch(this.#now()) !== true) {
      const opening = this.#opening.get(id) ?? this.#make(identity, id);
      this.#opening.set(id, opening);
      await opening.finally(() => this.#opening.delete(id));
    }
    return { id, current: ref === null ? null : await readRef(this.repo, ref) };
  }

  async #make(identity: PushIdentity, id: string): Promise<void> {
    const own = [...this.#sessions.values()].filter(({ identity: { owner } }) => owner === identity.owner);
    if (own.length >= this.limits.sessionsPerOwner) await this.#giveUpOldest(own);
    this.#sessions.set(id, await createSession(this.repo, identity, this.#now()));
  }

  /** Makes room for a push: the one that was used last of the caller's goes, if nobody is at it. */
  async #giveUpOldest(own: readonly PushSession[]): Promise<void> {
    const oldest = own.filter(({ active }) => active === 0).sort((a, b) => a.usedAt - b.usedAt)[0];
    if (!oldest) {
      throw new OstreeError('no-space', `${own.length} pushes of this caller are under way, which is all it may have`, {
        hint: 'Wait until one of them is done.',
      });
    }
    this.#sessions.delete(oldest.id);
    await oldest.remove();
  }

  /** Works with a session. Throws `not-found` for one that there is not, or that is somebody else's. */
  async #with<T>(id: string, owner: string, work: (session: PushSession) => Promise<T>): Promise<T> {
    const session = this.#sessions.get(id);
    if (!session || session.identity.owner !== owner || !session.touch(this.#now())) {
      throw new OstreeError('not-found', 'there is no such push', {
        hint: 'It was finished, or given up because nobody went on with it: push again.',
      });
    }
    session.active++;
    const working = work(session);
    this.#working.add(working);
    try {
      return await working;
    } finally {
      session.active--;
      this.#working.delete(working);
    }
  }

  /** What a session is of. */
  async identityOf(id: string, owner: string): Promise<PushIdentity> {
    return this.#with(id, owner, async ({ identity }) => identity);
  }

  /** Where objects stand, in the order of the question. */
  async missing(id: string, owner: string, objects: readonly ObjectId[]): Promise<ObjectState[]> {
    return this.#with(id, owner, async (session) => {
      const states: ObjectState[] = [];
      let until = Date.now() + SLICE_MS;
      for (const object of objects) {
        states.push(this.#stateOf(session, object));
        if (Date.now() < until) continue;
        await nextTurn();
        until = Date.now() + SLICE_MS;
      }
      return states;
    });
  }

  #stateOf(session: PushSession, object: ObjectId): ObjectState {
    const { type, checksum } = object;
    if (type === 'commitmeta' || session.broken.has(receivedName(type, checksum))) return 'missing';
    // A commit that is there is whole, unless it is marked as partial.
    const isStored = type === 'commit' ? isComplete(this.repo, checksum) : hasObject(this.repo, type, checksum);
    if (isStored) return 'stored';
    if (session.has(object) || (type === 'commit' && hasObject(this.repo, type, checksum))) return 'received';
    return session.partBytes(object) ?? 'missing';
  }

  /**
   * Takes in a pack. What it has brought counts as received when this returns, and most of it also when this fails.
   *
   * @throws OstreeError `corrupt` naming what is wrong, `no-space` beyond a limit or the room on the disk
   */
  async receive(id: string, owner: string, source: AsyncIterable<Buffer>, signal?: AbortSignal): Promise<PackReceipt> {
    return this.#with(id, owner, (session) =>
      receivePack(session, source, {
        repo: this.repo,
        signal,
        assertRoom: (bytes) => this.#assertRoom(session, bytes),
      }),
    );
  }

  #assertRoom(session: PushSession, bytes: number): void {
    const { sessionBytes, totalBytes } = this.limits;
    const hint = 'Whoever runs the receiving side can allow more.';
    if (session.bytes + bytes > sessionBytes) {
      throw new OstreeError('no-space', `this push would stage more than the ${sessionBytes} bytes that one may`, {
        hint,
      });
    }
    if (this.stagedBytes + bytes > totalBytes) {
      throw new OstreeError('no-space', `pushes would stage more than the ${totalBytes} bytes that they may together`, {
        hint,
      });
    }
  }

  /**
   * Ends a push: looks whether its commit is whole, makes it part of the repository, and moves the ref if it holds what
   * is expected. Repeating it is harmless.
   *
   * @param record does the move, with whatever has to be written down beside it
   * @throws OstreeError as the file system does; what `record` throws
   */
  async finish(id: string, owner: string, request: FinishRequest, record?: RecordMove): Promise<FinishResult> {
    return this.#with(id, owner, async (session) => {
      // One session may have what several pushes sent: moving it for two of them at once, one would miss what the other
      // has just moved.
      return this.#inTurn(`session ${id}`, () => this.#finish(session, request, record));
    });
  }

  async #finish(session: PushSession, request: FinishRequest, record?: RecordMove): Promise<FinishResult> {
    const turn = `ref ${request.ref}`;
    const result = await this.#inTurn(turn, () => finishPush(this.repo, session, request, record));
    if (result.state === 'moved' && session.identity.commit !== null) {
      this.#sessions.delete(session.id);
      await session.remove();
    } else if (result.state === 'moved') {
      session.broken = new Set();
      await session.scan();
    } else if (result.state === 'incomplete' && session.identity.commit === null) {
      session.broken = await brokenObjects(this.repo, session, request.commit);
    }
    return result;
  }

  /** A commit that a push has sent, or that is in the repository; null when it is neither. */
  async commit(id: string, owner: string, checksum: Checksum): Promise<Commit | null> {
    return this.#with(id, owner, async (session) => readReceivedCommit(this.repo, session, checksum));
  }

  /** Whether an object is there, in whatever state what it needs is in; whoever sends it again need not. */
  async has(id: string, owner: string, object: ObjectId): Promise<boolean> {
    return this.#with(id, owner, async (session) => {
      const { type, checksum } = object;
      return type !== 'commitmeta' && (session.has(object) || hasObject(this.repo, type, checksum));
    });
  }

  /** Says that an object was sent again whose parts have been sent before it: it is whole, as far as its sender knows. */
  mend(id: string, owner: string, { type, checksum }: ObjectId): void {
    const session = this.#sessions.get(id);
    if (session?.identity.owner !== owner || session.broken.size === 0) return;
    session.broken.delete(receivedName(type, checksum));
  }

  async #inTurn<T>(turn: string, work: () => Promise<T>): Promise<T> {
    const before = this.#finishing.get(turn);
    const mine = (async () => {
      await before?.catch(() => {});
      return work();
    })();
    this.#finishing.set(turn, mine);
    try {
      return await mine;
    } finally {
      if (this.#finishing.get(turn) === mine) this.#finishing.delete(turn);
    }
  }

  /** Gives a push up, with what it has sent. */
  async abandon(id: string, owner: string): Promise<void> {
    const session = this.#sessions.get(id);
    if (!session || session.identity.owner !== owner) return;
    if (session.active > 0) throw new OstreeError('conflict', 'something is just being received for this push');
    this.#sessions.delete(id);
    await session.remove();
  }
}
