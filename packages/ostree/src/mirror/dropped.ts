import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deltaName } from '../delta/names.ts';
import { deleteDelta, isRetiredDelta, listDeltas, retireDelta } from '../delta/stored.ts';
import type { Checksum } from '../formats/object-name.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { prune } from '../prune/prune.ts';
import { listCommits } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';

/**
 * When a commit or delta was first seen to be named by nothing any more, in ms since 1970; and when commits were last
 * looked through, by the hash of their list.
 */
type Dropped = Record<string, number>;

/** What a mirror deletes. */
export interface DropOptions {
  /** Names of the deltas that the remote has; null: those that are here are left alone. */
  deltas: ReadonlySet<string> | null;
  /** How many parents of what refs name are kept. */
  depth: number;
  /** Seconds for which what nothing names is kept: a client may have read of it. */
  keepFor: number;
  signal: AbortSignal | undefined;
}

/** Takes deltas that the remote does not have any more out of the indexes that are written next. */
export async function retireDropped(repo: Repo, deltas: ReadonlySet<string>): Promise<void> {
  for (const delta of await listDeltas(repo)) {
    if (!deltas.has(deltaName(delta.from, delta.to)) && !isRetiredDelta(repo, delta)) await retireDelta(repo, delta);
  }
}

/** Deletes what nothing names for so long already. Returns how many objects and deltas. */
export async function deleteDropped(repo: Repo, named: ReadonlySet<Checksum>, options: DropOptions): Promise<number> {
  const { deltas, depth, keepFor, signal } = options;
  const before = readDropped(repo);
  const now = Date.now();
  const dropped: Dropped = {};
  const isDue = (name: string): boolean => {
    const since = Math.min(before[name] ?? now, now);
    if (now - since >= keepFor * 1000) return true;
    dropped[name] = since;
    return false;
  };
  let deleted = 0;
  if (deltas) {
    for (const delta of await listDeltas(repo)) {
      const name = deltaName(delta.from, delta.to);
      if (deltas.has(name) || !isRetiredDelta(repo, delta) || !isDue(name)) continue;
      await deleteDelta(repo, delta);
      deleted++;
    }
  }
  const [young, due]: [Checksum[], Checksum[]] = [[], []];
  for (const commit of await listCommits(repo)) if (!named.has(commit)) (isDue(commit) ? due : young).push(commit);
  // History that is kept looks as if it were due: it is not gone through again for nothing.
  const looked = createHash('sha256')
    .update([...named, '', ...due].join())
    .digest('hex');
  if (due.length > 0 && before[looked] === undefined) {
    const report = await prune(repo, {
      ...{ refsOnly: true, depth, keep: young },
      storedBefore: now - keepFor * 1000,
      ...(signal && { signal }),
    });
    deleted += report.deleted;
  }
  if (due.length > 0) dropped[looked] = before[looked] ?? now;
  if (JSON.stringify(dropped) !== JSON.stringify(before)) await writeFileDurably(notes(repo), JSON.stringify(dropped));
  return deleted;
}

function notes(repo: Repo): string {
  return join(repo.path, 'state/treeline-dropped.json');
}

function readDropped(repo: Repo): Dropped {
  try {
    const noted: unknown = JSON.parse(readFileSync(notes(repo), 'utf8'));
    const whole = typeof noted === 'object' && noted !== null && Object.values(noted).every(Number.isFinite);
    return whole ? (noted as Dropped) : {};
  } catch {
    return {}; // then everything waits anew
  }
}
