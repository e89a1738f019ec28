import { setTimeout } from 'node:timers/promises';
import { readCommit } from '@treeline/ostree';
import type { Actor } from '../access/audit.ts';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import { decideRelease } from './decide.ts';
import type { ReleaseRow } from './tables.ts';

/** A caller waits this long for the publisher; a large closure goes on after it. */
const PATIENCE_MS = 20_000;

/**
 * Publishes a commit by hand and waits for it to be there.
 *
 * @returns the release; still `publishing` when it takes long.
 * @throws ServerError `conflict` when `expect` does not hold, `unprocessable` when it cannot be published.
 */
export async function publishByHand(
  core: Core,
  wish: {
    commit: string;
    repository: string;
    channel: string;
    expect?: string | null | undefined;
    artifact: string | null;
    reason: string;
    caller: Actor;
  },
): Promise<ReleaseRow> {
  const { tree } = await readCommit(core.store, wish.commit);
  const decided = await core.db.transaction().execute(async (trx) => {
    const row = await decideRelease(trx, core, { ...wish, tree, run: null });
    const { id, repository, channel, commit, previous, reason } = row;
    const data = { release: id, commit, previous, reason };
    const entry = { caller: wish.caller, action: 'release.publish', subject: `${repository}:${channel}`, data };
    await core.audit.record(entry, trx);
    return row;
  });
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const seen = core.publishing.version;
    const row = await core.db.selectFrom('releases').selectAll().where('id', '=', decided.id).executeTakeFirstOrThrow();
    if (row.state === 'failed') {
      throw new ServerError('unprocessable', `${wish.commit} could not be published: ${row.message}`);
    }
    if (row.state !== 'publishing' || Date.now() > until || core.signal.aborted) return row;
    await core.publishing.past(seen, 500, core.signal);
    await setTimeout(0);
  }
}
