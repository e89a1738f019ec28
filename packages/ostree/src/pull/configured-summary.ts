import { join } from 'node:path';
import type { Checksum } from '../formats/object-name.ts';
import type { Repo } from '../repo/repo.ts';
import { remoteVerification } from '../sign/remote-verification.ts';
import { openRemote } from './remote.ts';
import { remoteOptions } from './remote-config.ts';
import { RemoteSummary } from './remote-summary.ts';
import { fetchSummary, type SummaryFiles } from './summary-file.ts';

/** How the summary of a remote is fetched. */
export interface FetchRemoteSummaryOptions {
  /** Where summaries are cached; default in the repository, null for nowhere. */
  cacheFolder?: string | null;
  signal?: AbortSignal;
}

/**
 * Gets the summary of a configured remote, its signatures checked if the configuration demands some.
 *
 * @returns null when the remote has none
 * @throws OstreeError `signature`, `not-found` for an unknown remote, `network`
 */
export async function fetchRemoteSummary(
  repo: Repo,
  name: string,
  options: FetchRemoteSummaryOptions = {},
): Promise<SummaryFiles | null> {
  const { cacheFolder = join(repo.path, 'tmp/cache'), signal } = options;
  const configured = await remoteOptions(repo, name);
  const verification = await remoteVerification(repo, name, 'summary');
  const remote = await openRemote(configured.url, { ...configured, ...(signal && { signal }) });
  try {
    return await fetchSummary(remote, { remote: name, verification, cache: cacheFolder });
  } finally {
    remote.close();
  }
}

/** The refs that a summary lists as the repository's own, by name. Throws `corrupt`. */
export function summaryRefs(data: Buffer): Map<string, Checksum> {
  const summary = new RemoteSummary(data, 'summary');
  const own = [...summary.refs()].filter(({ collection }) => collection === summary.collection);
  return new Map(own.map(({ name, commit }) => [name, commit]));
}
