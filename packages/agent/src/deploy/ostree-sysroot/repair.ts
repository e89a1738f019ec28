import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError, messageOf } from '../../errors.ts';
import type { StageOptions } from '../deployer.ts';
import { type FetchPlace, markPartial, refetchCommits } from './fetch.ts';
import { ostree } from './ostree-command.ts';

const ROUNDS = 3;
/** What `ostree fsck` says of commits that are not whole, which alone is no damage. */
const ONLY_PARTIAL = /^error: \d+ partial commits? (?:from fsck-detected corruption|not verified)$/;

/**
 * Makes sure that a commit is whole and undamaged on disk before anything is built on it: objects that it shares with
 * older commits may have been there for years. What is damaged is removed and fetched again.
 *
 * @param others commits of deployments: repaired, too, where the server still has them
 * @throws AgentError `deploy-failed` when it cannot be had whole; as `refetchCommits` does
 */
export async function verifyCommit(
  place: FetchPlace,
  commit: string,
  o: StageOptions & { others: readonly string[]; onRepair(what: string): void },
): Promise<void> {
  let words = '';
  for (let round = 0; round < ROUNDS; round++) {
    words = await check(place.repo, o.signal);
    const partial = await partialCommits(place.repo);
    if (words === '' && !partial.has(commit)) return;
    o.onRepair(words.split('\n').slice(-1).join('') || 'a commit is not whole');
    // Something is missing that fsck knows no commit for: the pull looks at all of it then.
    if (!partial.has(commit)) await markPartial(place.repo, commit);
    await refetchCommits(place, [commit], o);
    for (const other of o.others) {
      if (other === commit || !partial.has(other)) continue;
      // It runs, or did; whether it can be made whole again does not decide about the new one.
      await refetchCommits(place, [other], { at: null, signal: o.signal }).catch((error: unknown) => {
        if (o.signal?.aborted) throw error;
        o.onRepair(`${other.slice(0, 12)} stays damaged: ${messageOf(error)}`);
      });
    }
  }
  throw new AgentError('deploy-failed', `the repository stays damaged: ${words}`);
}

/** What is wrong, in `ostree fsck`'s words; empty if nothing is but commits that are known not to be whole. */
async function check(repo: string, signal: AbortSignal | undefined): Promise<string> {
  try {
    await ostree(['fsck', `--repo=${repo}`, '--quiet', '--delete'], signal);
    return '';
  } catch (error) {
    if (signal?.aborted || !(error instanceof AgentError) || error.code !== 'deploy-failed') throw error;
    const words = error.message.replace(/^ostree fsck[^:]*: /, '');
    const lines = words.split('; ').filter((line) => !ONLY_PARTIAL.test(line.trim()));
    return lines.join('\n');
  }
}

async function partialCommits(repo: string): Promise<Set<string>> {
  const names = await readdir(join(repo, 'state')).catch(() => []);
  return new Set(names.filter((name) => name.endsWith('.commitpartial')).map((name) => name.slice(0, 64)));
}
