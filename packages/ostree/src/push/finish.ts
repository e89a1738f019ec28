import { existsSync, readFileSync, rmSync } from 'node:fs';
import { type Commit, decodeCommit, type Metadata } from '../formats/commit.ts';
import type { Checksum } from '../formats/object-name.ts';
import { decode } from '../gvariant/decode.ts';
import { completeRoots, isComplete, partialMark } from '../pull/known-trees.ts';
import { walkClosure } from '../pull/walk-closure.ts';
import { lockRepo, takeTurn } from '../repo/lock.ts';
import { assertHash, hasObject, objectPath } from '../repo/objects.ts';
import { readRef, setRef } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { repoSettings } from '../repo/settings.ts';
import { mergeDetachedMetadata } from '../sign/sign.ts';
import { pool } from '../work/pool.ts';
import { receivedName } from '../work/receive-object.ts';
import type { ObjectId } from './object-list.ts';
import type { PushSession } from './session.ts';

/** How a push is to end. */
export interface FinishRequest {
  ref: string;
  commit: Checksum;
  /** Further commits that were sent, such as parents: they are stored if they are whole, and demanded. */
  also?: readonly Checksum[];
  /** What the ref holds as far as the sender knows; null: there is no such ref. */
  expect: Checksum | null;
  /** Move the ref whatever it holds. */
  force: boolean;
  signal?: AbortSignal;
}

/** How it has ended. */
export type FinishResult =
  /** Done; `from` is what the ref held before. */
  | { state: 'moved'; from: Checksum | null }
  /** The ref holds something else, and was left alone. */
  | { state: 'conflict'; current: Checksum | null }
  /** These objects are needed and not there; there may be more. */
  | { state: 'incomplete'; missing: ObjectId[] };

/** A move of a ref that is about to happen. */
export interface RefMove {
  ref: string;
  from: Checksum | null;
  to: Checksum;
  /** It was asked for whatever the ref holds. */
  forced: boolean;
  /** Detached metadata came that was not there. */
  metadata: boolean;
}

/** Does a move, by calling `apply`, and writes it down. */
export type RecordMove = (move: RefMove, apply: () => Promise<void>) => Promise<void>;

/** So many missing objects are named at once. */
const MAX_MISSING = 20_000;
/** More than enough for the move of many files to be a worker's. */
const RELEASE_COST = 4 * 1024 * 1024;

/**
 * Makes what a push has sent part of the repository. Under the repository's shared lock, so that a prune deletes nothing
 * in between, its commits are walked: every object must be there or in the session. Then the session's objects are made
 * durable and moved in as a transaction does it, parts first and commits last, and the ref is moved, if it holds what
 * was expected.
 */
export async function finishPush(
  repo: Repo,
  session: PushSession,
  request: FinishRequest,
  record: RecordMove = (_, apply) => apply(),
): Promise<FinishResult> {
  const { ref, commit, expect, force, signal } = request;
  const unlock = await lockRepo(repo, 'shared', signal);
  try {
    const before = await readRef(repo, ref);
    if (before !== expect && before !== commit && !force) return { state: 'conflict', current: before };
    const wanted = [...new Set([commit, ...(request.also ?? [])])];
    const { needed, missing } = await lookThrough(repo, session, { wanted, before, signal });
    if (missing.length > 0) return { state: 'incomplete', missing };
    const metadata = await mergeMetadata(repo, session, { wanted, force, signal });
    await release(repo, session, needed);
    for (const one of wanted) rmSync(partialMark(repo, one), { force: true });
    const done = await takeTurn(repo, 'treeline-push.lock', signal);
    try {
      const from = await readRef(repo, ref);
      if (from !== expect && from !== commit && !force) return { state: 'conflict', current: from };
      if (from === commit && !metadata) return { state: 'moved', from };
      await record({ ref, from, to: commit, forced: force, metadata }, () => move(repo, ref, commit));
      return { state: 'moved', from };
    } finally {
      done();
    }
  } finally {
    unlock();
  }
}

async function move(repo: Repo, ref: string, commit: Checksum): Promise<void> {
  if ((await readRef(repo, ref)) === commit) return;
  await setRef(repo, ref, commit);
  if (!repoSettings(repo.config).autoUpdateSummary) return;
  const { autoUpdateSummary } = await import('../summary/update.ts');
  await autoUpdateSummary(repo);
}

interface LookThroughOptions {
  wanted: readonly Checksum[];
  /** What the ref holds. */
  before: Checksum | null;
  signal: AbortSignal | undefined;
}

/** What commits need: file names of the session's objects, and what is nowhere. */
async function lookThrough(
  repo: Repo,
  session: PushSession,
  { wanted, before, signal }: LookThroughOptions,
): Promise<{ needed: string[]; missing: ObjectId[] }> {
  const needed: string[] = [];
  const missing: ObjectId[] = [];
  const look = (object: ObjectId): void => {
    const name = receivedName(object.type, object.checksum);
    if (session.names.has(name)) needed.push(name);
    else if (object.type === 'commitmeta' || !hasObject(repo, object.type, object.checksum)) missing.push(object);
  };
  const commits: Commit[] = [];
  for (const checksum of wanted) {
    if (isComplete(repo, checksum)) continue; // has all that it needs
    look({ type: 'commit', checksum });
    const commit = readReceivedCommit(repo, session, checksum);
    if (commit) commits.push(commit);
  }
  const parents = commits.flatMap(({ parent }) => (parent === null ? [] : [parent]));
  const known = completeRoots(repo, before === null ? parents : [before, ...parents]);
  const roots = commits.map(({ tree }) => ({ tree, known }));
  const locate = (checksum: Checksum): string => locateReceived(repo, session, 'dirtree', checksum);
  for await (const batch of walkClosure(repo, roots, { locate, signal })) {
    for (const { type, checksum } of batch) look({ type, checksum });
    if (missing.length >= MAX_MISSING) break;
  }
  return { needed, missing };
}

/** Where a metadata object is, or would be: with the push, or in the repository. */
export function locateReceived(
  repo: Repo,
  session: PushSession,
  type: 'commit' | 'dirtree',
  checksum: Checksum,
): string {
  return session.pathOf(receivedName(type, checksum)) ?? objectPath(repo, type, checksum);
}

/** A commit that was received or is in the repository; null when it is neither. */
export function readReceivedCommit(repo: Repo, session: PushSession, checksum: Checksum): Commit | null {
  const path = locateReceived(repo, session, 'commit', checksum);
  if (!existsSync(path)) return null;
  const data = readFileSync(path);
  assertHash(data, checksum, 'commit');
  return decodeCommit(data, `${checksum}.commit`);
}

/** Before the commits, so that no client finds one without its signatures. Returns whether there was anything new. */
async function mergeMetadata(
  repo: Repo,
  session: PushSession,
  { wanted, force, signal }: { wanted: readonly Checksum[]; force: boolean; signal: AbortSignal | undefined },
): Promise<boolean> {
  let changed = false;
  for (const commit of wanted) {
    const name = receivedName('commitmeta', commit);
    const path = session.pathOf(name);
    if (path === null) continue;
    const metadata = decode('a{sv}', readFileSync(path), { object: name }) as unknown as Metadata;
    const options = { replace: force, ...(signal && { signal }) };
    if (await mergeDetachedMetadata(repo, commit, metadata, options)) changed = true;
    rmSync(path, { force: true });
    session.names.delete(name);
  }
  return changed;
}

async function release(repo: Repo, session: PushSession, names: string[]): Promise<void> {
  if (names.length === 0) return;
  const { path, fsync } = repo;
  const files = names.map((name) => session.names.get(name)!);
  await pool.run({ kind: 'release-objects', repo: { path, fsync }, folder: session.path, files }, RELEASE_COST);
  for (const name of names) session.names.delete(name);
}
