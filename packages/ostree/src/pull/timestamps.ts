import { OstreeError } from '../errors.ts';
import type { Commit } from '../formats/commit.ts';
import type { Checksum } from '../formats/object-name.ts';
import { readCommit } from '../repo/objects.ts';
import { readRef, tryResolveRev } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';

/** A commit that others must not be older than. */
export interface Since {
  checksum: Checksum;
  timestamp: number;
}

/** What a ref names now, here: the remote's, or else one of its name. Null when there is none. */
export async function currentCommit(repo: Repo, name: string, remote: string | undefined): Promise<Since | null> {
  const known = remote === undefined ? null : await readRef(repo, `${remote}:${name}`);
  return since(repo, known ?? (await tryResolveRev(repo, name)));
}

/** The commit that a revision names here. Throws `not-found`. */
export async function sinceRevision(repo: Repo, revision: string): Promise<Since> {
  const checksum = await tryResolveRev(repo, revision);
  if (!checksum) throw new OstreeError('not-found', `Refspec '${revision}' not found`);
  return (await since(repo, checksum))!;
}

async function since(repo: Repo, checksum: Checksum | null): Promise<Since | null> {
  return checksum === null ? null : { checksum, timestamp: (await readCommit(repo, checksum)).timestamp };
}

/**
 * Refuses a commit that is older than another: a server must not offer yesterday's release as new.
 *
 * @throws OstreeError `invalid`, in libostree's words (`_ostree_compare_timestamps`)
 */
export function assertNotOlder(current: Since, checksum: Checksum, commit: Commit): void {
  if (commit.timestamp >= current.timestamp || checksum === current.checksum) return;
  throw new OstreeError(
    'invalid',
    `Upgrade target revision '${checksum}' with timestamp '${inWords(commit.timestamp)}' is chronologically older than ` +
      `current revision '${current.checksum}' with timestamp '${inWords(current.timestamp)}'; use --allow-downgrade to permit`,
    { object: `${checksum}.commit` },
  );
}

/** As `%c` of the C locale has it: `Mon Nov 23 05:33:27 2026`, in UTC. */
function inWords(seconds: number): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return `${seconds}`;
  const [weekday, day, month, year, time] = date.toUTCString().replace(',', '').split(' ');
  return `${weekday} ${month} ${String(Number(day)).padStart(2)} ${time} ${year}`;
}
