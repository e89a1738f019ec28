import type { Database } from '../database/open.ts';
import type { PublicationRow, ReleaseRow } from './tables.ts';

/** A publication that waits or is being made, with its releases. */
export interface Publication {
  row: PublicationRow;
  /** By number. */
  releases: ReleaseRow[];
}

/** `repository:channel` of each of its releases. */
export function channelsOf({ releases }: Publication): string[] {
  return releases.map(({ repository, channel }) => `${repository}:${channel}`);
}

/** All publications that are not done, oldest first. */
export async function pendingPublications(db: Database): Promise<Publication[]> {
  const rows = await db
    .selectFrom('publications')
    .selectAll()
    .where('state', '=', 'publishing')
    .orderBy('number')
    .execute();
  if (rows.length === 0) return [];
  const releases = await db
    .selectFrom('releases')
    .selectAll()
    .where('state', '=', 'publishing')
    .orderBy('number')
    .execute();
  return rows.map((row) => ({ row, releases: releases.filter(({ publication }) => publication === row.number) }));
}

/**
 * Which publications may begin: oldest first, no two of them on one channel, none on a channel that is `busy`. One
 * that a newer one replaces on all its channels lets that one go first: it is superseded when the newer one is
 * published, and has its turn when that fails.
 */
export function nextPublications(pending: readonly Publication[], busy: ReadonlySet<string>): Publication[] {
  const taken = new Set(busy);
  const next: Publication[] = [];
  for (const one of pending) {
    const channels = channelsOf(one);
    if (!channels.some((channel) => taken.has(channel))) {
      const chosen = newestThatReplaces(one, pending, taken);
      next.push(chosen);
      for (const channel of channelsOf(chosen)) taken.add(channel);
    }
    // Nothing newer comes before it on any of its channels.
    for (const channel of channels) taken.add(channel);
  }
  return next;
}

/** Whether a publication has every channel of another, older one. */
export function replaces(newer: Publication, older: Publication): boolean {
  if (newer.row.number <= older.row.number) return false;
  const channels = new Set(channelsOf(newer));
  return channelsOf(older).every((channel) => channels.has(channel));
}

function newestThatReplaces(
  one: Publication,
  pending: readonly Publication[],
  taken: ReadonlySet<string>,
): Publication {
  const newer = pending.findLast((candidate) => {
    if (!replaces(candidate, one)) return false;
    const channels = channelsOf(candidate);
    if (channels.some((channel) => taken.has(channel))) return false;
    // It must not overtake another one on a channel that is not its alone.
    return pending
      .filter((other) => other.row.number < candidate.row.number)
      .filter((other) => channelsOf(other).some((channel) => channels.includes(channel)))
      .every((other) => replaces(candidate, other));
  });
  return newer ?? one;
}
