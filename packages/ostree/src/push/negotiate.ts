import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { readBeside } from '../pull/known-trees.ts';
import type { Repo } from '../repo/repo.ts';
import type { ObjectId, ObjectState } from './object-list.ts';
import { locateObject, notHere } from './outgoing.ts';
import type { ObjectToSend } from './send-queue.ts';

/** A commit that the receiver is to have whole. */
export interface CommitToSend {
  checksum: Checksum;
  tree: Tree;
}

export interface NegotiateOptions {
  /** Root dirtrees that the receiver has whole, and this repository as well. */
  known: readonly Checksum[];
  /** Asks where objects stand. */
  ask: (objects: readonly ObjectId[]) => Promise<ObjectState[]>;
  /** Told of an object that is missing. */
  found: (object: ObjectToSend) => void;
  signal?: AbortSignal | undefined;
}

interface Asked extends ObjectId {
  /** Of a dirtree, those at the same path in trees that the receiver has. */
  known?: readonly Checksum[];
  /** Of a commit, what is below it. */
  tree?: Tree;
}

/** As many as are asked for in one request. */
const ASKED_AT_ONCE = 32_768;
const SLICE_MS = 8;

/**
 * Finds out what the receiver lacks of commits, going down the Merkle tree with it: a level of folders is asked for at
 * a time, and below those that it has nothing is. A dirtree that has been received, but is not part of the repository
 * yet, says nothing of what is below.
 */
export async function negotiate(
  repo: Repo,
  commits: readonly CommitToSend[],
  options: NegotiateOptions,
): Promise<void> {
  const walk = new Walk(repo, options);
  const level: Asked[] = [];
  for (const { checksum, tree } of commits) {
    level.push({ type: 'commit', checksum, tree });
    // With the commit, since it is missing nearly always.
    walk.wantTree(level, tree);
  }
  await walk.down(level);
}

/** The same for objects that turned out to be missing at the end. */
export async function negotiateObjects(
  repo: Repo,
  objects: readonly ObjectId[],
  options: NegotiateOptions,
): Promise<void> {
  const level = objects.map((object): Asked => (object.type === 'dirtree' ? { ...object, known: [] } : object));
  await new Walk(repo, options).down(level);
}

class Walk {
  readonly #repo: Repo;
  readonly #options: NegotiateOptions;
  readonly #seen = new Set<string>();

  constructor(repo: Repo, options: NegotiateOptions) {
    this.#repo = repo;
    this.#options = options;
  }

  async down(first: Asked[]): Promise<void> {
    for (let level = first; level.length > 0; ) level = await this.#ask(level);
  }

  wantTree(level: Asked[], { contents, meta }: Tree): void {
    this.#want(level, { type: 'dirmeta', checksum: meta });
    const { known } = this.#options;
    if (!known.includes(contents)) this.#want(level, { type: 'dirtree', checksum: contents, known });
  }

  #want(level: Asked[], object: Asked): void {
    // Metadata and content never have the same name for other reasons than a broken hash.
    if (this.#seen.has(object.checksum)) return;
    this.#seen.add(object.checksum);
    level.push(object);
  }

  /** Asks for a level, and returns the next one. */
  async #ask(level: readonly Asked[]): Promise<Asked[]> {
    const { ask, found, signal } = this.#options;
    const next: Asked[] = [];
    let until = Date.now() + SLICE_MS;
    for (let at = 0; at < level.length; at += ASKED_AT_ONCE) {
      const part = level.slice(at, at + ASKED_AT_ONCE);
      const states = await ask(part);
      for (const [index, object] of part.entries()) {
        const state = states[index]!;
        if (state === 'stored') continue;
        const { type, checksum } = object;
        if (state !== 'received') found({ type, checksum, from: typeof state === 'number' ? state : 0 });
        if (type === 'dirtree') this.#expand(next, object);
        if (Date.now() < until) continue;
        signal?.throwIfAborted();
        await nextTurn();
        until = Date.now() + SLICE_MS;
      }
    }
    return next;
  }

  #expand(next: Asked[], { checksum, known: knownContents = [] }: Asked): void {
    const { path } = locateObject(this.#repo, { type: 'dirtree', checksum });
    const read = readBeside(path, checksum, { repo: this.#repo, known: knownContents });
    if (!read) throw notHere(this.#repo, { type: 'dirtree', checksum });
    const { tree, known } = read;
    for (const [name, file] of tree.files) {
      if (!known.hasFile(name, file)) this.#want(next, { type: 'file', checksum: file });
    }
    for (const [name, { contents, meta }] of tree.dirs) {
      if (!known.hasMeta(name, meta)) this.#want(next, { type: 'dirmeta', checksum: meta });
      const below = known.below(name, contents);
      if (below) this.#want(next, { type: 'dirtree', checksum: contents, known: below });
    }
  }
}
