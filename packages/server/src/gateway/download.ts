import { join } from 'node:path';
import { OstreeError, openRepo, type TransferSize, transferSize } from '@treeline/ostree';
import type { DeviceRow } from '../devices/tables.ts';
import { GatewayRefusal } from './exchange.ts';

const CHECKSUM = /^[0-9a-f]{64}$/;
/** Commits that a device may say it has: what it runs, its fallback, and some that somebody pinned. */
const MOST_HELD = 8;
/** Answers kept: a fleet that takes one release asks the same thing thousands of times. */
const KEPT = 500;

/** Says how much a device would have to fetch, before it does. */
export interface Downloads {
  /**
   * @param query `commit=<checksum>`, and `have=<checksum>` for each commit that the device has whole
   * @throws GatewayRefusal 400, and 404 `not-found` for a commit that its repository does not have
   */
  size(device: DeviceRow, query: URLSearchParams): Promise<TransferSize>;
}

export function createDownloads({ reposDir }: { reposDir: string }): Downloads {
  const known = new Map<string, Promise<TransferSize>>();
  return {
    async size({ repository }, query) {
      const commit = query.get('commit') ?? '';
      const held = [...new Set(query.getAll('have'))].sort();
      if (![commit, ...held].every((text) => CHECKSUM.test(text)) || held.length > MOST_HELD) {
        throw new GatewayRefusal(400, 'invalid-request', `commit=CHECKSUM and up to ${MOST_HELD} times have=CHECKSUM`);
      }
      const key = [repository, commit, ...held].join(' ');
      const before = known.get(key);
      if (before !== undefined) return before;
      const answer = measure(join(reposDir, repository), commit, held);
      known.set(key, answer);
      // A delta may be made or go later, and what is not there yet may come.
      const forget = () => known.get(key) === answer && known.delete(key);
      answer.then(() => forgetLater(forget), forget);
      for (const oldest of known.keys()) {
        if (known.size <= KEPT) break;
        known.delete(oldest);
      }
      return answer;
    },
  };
}

const FORGET_AFTER = 60_000;

function forgetLater(forget: () => void): void {
  setTimeout(forget, FORGET_AFTER).unref();
}

async function measure(path: string, commit: string, held: readonly string[]): Promise<TransferSize> {
  try {
    return await transferSize(await openRepo(path), commit, held);
  } catch (error) {
    if (!(error instanceof OstreeError) || error.code !== 'not-found') throw error;
    throw new GatewayRefusal(404, 'not-found', 'that commit is not here');
  }
}
