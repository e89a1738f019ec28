import { setTimeout } from 'node:timers/promises';
import { readCommit } from '@treeline/ostree';
import type { Actor } from '../access/audit.ts';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import { admit } from '../labels/admission.ts';
import { bindItems } from './bindings.ts';
import { type DecidedPublication, decidePublication } from './decide.ts';
import { RepositorySettings } from './repository-settings.ts';

/** A caller waits this long for the publisher; a large closure goes on after it. */
const PATIENCE_MS = 20_000;

/** What is published by hand, together. */
export interface HandWish {
  repository: string;
  items: readonly { commit: string; channel: string; expect?: string | null | undefined; artifact: string | null }[];
  /** Make commits for these channels of those that were made for other refs. */
  rebind?: boolean | undefined;
  reason: string;
  by: Actor;
}

/**
 * Publishes commits by hand and waits for them to be there.
 *
 * @returns the releases; still `publishing` when it takes long.
 * @throws ServerError `conflict` when an `expect` does not hold, `unprocessable` when it cannot be published, or clients
 *   would refuse it there (see `bindItems`).
 */
export async function publishByHand(core: Core, wish: HandWish): Promise<DecidedPublication> {
  const { repository } = wish;
  const published = core.repositories.find(repository);
  const folder = published?.path ?? null;
  const bound = await bindItems(core.store, wish.items, { repository, folder, rebind: wish.rebind ?? false });
  const items = await Promise.all(
    bound.map(async (item) => ({ ...item, tree: (await readCommit(core.store, item.commit)).tree })),
  );
  const { admits } = published?.settings ?? RepositorySettings.parse({});
  // The publisher asks again; whoever waits here hears it without a release that failed.
  for (const { commit } of items) await admit(core, { repository, admits, commit, run: null });
  const decided = await core.db
    .transaction()
    .execute((trx) => decidePublication(trx, core, { ...wish, items, run: null }));
  const { number } = decided.publication;
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const seen = core.publishing.version;
    const { publication, releases } = await readPublication(core, number);
    if (publication.state === 'failed') {
      const what = wish.items.length === 1 ? wish.items[0]!.commit : `${wish.items.length} commits`;
      throw new ServerError('unprocessable', `${what} could not be published: ${publication.message}`);
    }
    if (publication.state !== 'publishing' || Date.now() > until || core.signal.aborted)
      return { publication, releases };
    await core.publishing.past(seen, 500, core.signal);
    await setTimeout(0);
  }
}

/** A publication as it is now, with its releases. @throws ServerError `not-found` */
export async function readPublication(core: Pick<Core, 'db'>, number: number): Promise<DecidedPublication> {
  const publication = await core.db
    .selectFrom('publications')
    .selectAll()
    .where('number', '=', number)
    .executeTakeFirst();
  if (!publication) throw new ServerError('not-found', `there is no publication ${number}`);
  const releases = await core.db
    .selectFrom('releases')
    .selectAll()
    .where('publication', '=', number)
    .orderBy('number')
    .execute();
  return { publication, releases };
}
