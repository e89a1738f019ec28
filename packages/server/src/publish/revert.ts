import { hasObject } from '@treeline/ostree';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import type { HandWish } from './by-hand.ts';
import type { ReleaseRow } from './tables.ts';

/**
 * What to publish so that channels get back what they had: a revert is a new release of an old commit, so devices see
 * it as any other, and the numbers go on. It happens only if nobody publishes meanwhile.
 *
 * @param o.to number of the release to go back to, for one channel; default: the newest with another commit before the
 *   current one
 * @throws ServerError `not-found` when there is no such release, `unprocessable` when it cannot be gone back to
 */
export async function revertItems(
  core: Pick<Core, 'db' | 'store'>,
  o: { repository: string; channels: readonly string[]; to?: number | undefined },
): Promise<HandWish['items']> {
  if (o.to !== undefined && o.channels.length !== 1) {
    throw new ServerError('invalid-request', 'a release is of one channel: only one can go back to it');
  }
  return await Promise.all(
    o.channels.map(async (channel) => {
      const released = await core.db
        .selectFrom('releases')
        .selectAll()
        .where('repository', '=', o.repository)
        .where('channel', '=', channel)
        .where('state', '=', 'published')
        .orderBy('number', 'desc')
        .execute();
      const where = `${o.repository}:${channel}`;
      const [current] = released;
      if (!current) throw new ServerError('not-found', `nothing was published on ${where} yet`);
      const target = o.to === undefined ? before(released) : released.find(({ number }) => number === o.to);
      if (!target) throw noTarget(where, o.to);
      if (target.commit === current.commit) {
        throw new ServerError('unprocessable', `${where} has the commit of release ${target.number} already`);
      }
      if (!hasObject(core.store, 'commit', target.commit)) {
        const message = `release ${target.number} of ${where} cannot come back: retention has let its commit ${target.commit} go`;
        throw new ServerError('unprocessable', message, {
          hint: 'Go back to one that is kept (treeline du tells which). What is to stay in future: treeline pin COMMIT.',
        });
      }
      return { channel, commit: target.commit, expect: current.commit, artifact: target.artifact };
    }),
  );
}

/**
 * What the current release replaced. After a revert that is not what was there just before, but what was there before
 * what was reverted to: going back twice goes back further.
 */
function before(released: readonly ReleaseRow[]): ReleaseRow | undefined {
  const { commit } = released[0]!;
  const first = released.findLast((row) => row.commit === commit)!;
  return released.find((row) => row.number < first.number && row.commit !== commit);
}

function noTarget(where: string, to: number | undefined): ServerError {
  const hint = 'What was published when: treeline release list';
  if (to === undefined) return new ServerError('not-found', `${where} has had one release only`, { hint });
  return new ServerError('not-found', `release ${to} was not published on ${where}`, { hint });
}
