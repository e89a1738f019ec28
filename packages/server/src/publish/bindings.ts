import {
  type Checksum,
  type Commit,
  metadataValue,
  openRepo,
  ownCollection,
  type Repo,
  readCommit,
  withTransaction,
  writeCommit,
} from '@treeline/ostree';
import { ServerError } from '../errors.ts';

/** Name of the metadata entry of a commit that was made for other refs: the commit that it was made from. */
export const REBOUND_FROM = 'treeline.rebound-from';
const REFS = 'ostree.ref-binding';
const COLLECTION = 'ostree.collection-binding';

/** A commit for a channel, and if it was made for that, from which. */
export interface BoundItem {
  channel: string;
  commit: Checksum;
  reboundFrom?: Checksum;
}

/**
 * Sees to it that every client takes the commits from the channels: one that says for which refs it was made
 * (`ostree.ref-binding`) is refused by libostree under any other name, and one of a collection by who follows another.
 * What a run makes is bound to nothing.
 *
 * @param o.folder of the published repository; null = it is made with the first release
 * @param o.rebind make commits of the same trees that are bound to these channels, instead of refusing. The same commits
 *   for the same channels always give the same ones.
 * @throws ServerError `unprocessable` saying which commit is bound to what
 */
export async function bindItems<T extends BoundItem>(
  store: Repo,
  items: readonly T[],
  o: { repository: string; folder: string | null; rebind: boolean },
): Promise<T[]> {
  const collection = o.folder === null ? null : ownCollection(await openRepo(o.folder));
  const bound: T[] = [];
  for (const [commit, group] of Map.groupBy(items, (item) => item.commit)) {
    const channels = group.map(({ channel }) => channel);
    const read = await readCommit(store, commit);
    const problem = misbinding(read, { channels, collection });
    if (problem === null) bound.push(...group);
    else if (!o.rebind) throw refusal(commit, { problem, repository: o.repository, channels });
    else {
      const made = await rebind(store, { commit, read, channels, collection });
      bound.push(...group.map((item) => ({ ...item, commit: made, reboundFrom: commit })));
    }
  }
  // As they were wished.
  return items.map(({ channel }) => bound.find((item) => item.channel === channel)!);
}

/** Why clients would not take a commit from one of these refs; null when they do. */
function misbinding(
  { metadata }: Commit,
  { channels, collection }: { channels: readonly string[]; collection: string | null },
): string | null {
  const refs = metadataValue(metadata, REFS);
  if (refs !== undefined) {
    if (refs.type !== 'as') return `its ${REFS} is no list of names`;
    const names = refs.value as string[];
    const missing = channels.find((channel) => !names.includes(channel));
    if (missing !== undefined) {
      const made = names.length === 0 ? 'no ref at all' : names.join(', ');
      return `it was made for ${made} (${REFS}), and clients refuse it as ${missing}`;
    }
  }
  if (collection === null) return null;
  const own = metadataValue(metadata, COLLECTION);
  if (own === undefined || own.value === collection) return null;
  const made = typeof own.value === 'string' ? own.value : 'of no name';
  return `it was made for the collection ${made} (${COLLECTION}), and clients refuse it in ${collection}`;
}

function refusal(
  commit: Checksum,
  o: { problem: string; repository: string; channels: readonly string[] },
): ServerError {
  const where = o.channels.map((channel) => `${o.repository}:${channel}`).join(', ');
  return new ServerError('unprocessable', `${commit} cannot be published on ${where}: ${o.problem}`, {
    hint:
      'Publish with --rebind (`rebind` in the API): that makes a commit of the same tree for these channels. Or commit it ' +
      'without a binding: ostree commit --no-bindings, or --bind-ref=CHANNEL for each of them.',
  });
}

/** The same content, parent and time; all else that the commit says of itself stays, too. Signatures were of the other. */
async function rebind(
  store: Repo,
  o: { commit: Checksum; read: Commit; channels: readonly string[]; collection: string | null },
): Promise<Checksum> {
  const { tree, parent, subject, body, timestamp, metadata } = o.read;
  const own = metadata.some(([name]) => name === COLLECTION);
  const kept = metadata.filter(([name]) => name !== REFS && name !== COLLECTION && name !== REBOUND_FROM);
  return await withTransaction(store, (tx) =>
    writeCommit(tx, {
      ...{ tree, parent, subject, body, timestamp },
      metadata: [
        [REFS, { type: 'as', value: [...o.channels].sort() }],
        ...(own && o.collection !== null
          ? ([[COLLECTION, { type: 's', value: o.collection }]] satisfies Commit['metadata'])
          : []),
        ...kept,
        [REBOUND_FROM, { type: 's', value: o.commit }],
      ],
    }),
  );
}
