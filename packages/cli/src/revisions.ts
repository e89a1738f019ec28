import type { CommitInfo, Release } from '@treeline/server';
import type { Client } from './connection/client.ts';
import { CliError } from './errors.ts';

/** A channel of a published repository. */
export type Channel = { repository: string | undefined; channel: string };

/** `REPO:CHANNEL` or `CHANNEL`. Throws `usage` when it is neither. */
export function parseChannel(text: string): Channel {
  const colon = text.indexOf(':');
  const repository = colon < 0 ? undefined : text.slice(0, colon);
  const channel = text.slice(colon + 1);
  const isRef = /^[A-Za-z0-9_][\w.-]*(\/[A-Za-z0-9_][\w.-]*)*$/.test(channel) && channel.length <= 255;
  if (!isRef || (repository !== undefined && !/^[A-Za-z0-9][\w.-]{0,62}$/.test(repository))) {
    throw new CliError('usage', `"${text}" is no channel.`, {
      hint: 'Write it like this: robot/edge, or public:robot/edge',
    });
  }
  return { repository, channel };
}

/**
 * The commit that a person means: the current release of a channel (`robot/edge`, `public:robot/edge`; with `^` the
 * release before it), the number of a release (`7`, `#7`), or what the server's store knows by that name: a checksum
 * or the beginning of one, a ref, `project/artifact` for its newest. In this order.
 * @throws CliError `not-found`, saying what there is.
 */
export async function resolveCommit(client: Client, rev: string): Promise<string> {
  if (/^[0-9a-f]{64}$/.test(rev)) return rev;
  if (/^#?\d{1,6}$/.test(rev)) {
    const { releases } = await fetchReleases(client, { limit: 1000 });
    const release = releases.find(({ number }) => number === Number(rev.replace('#', '')));
    if (release) return release.commit;
    if (rev.startsWith('#'))
      throw new CliError('not-found', `There is no release ${rev}.`, { hint: 'treeline release list' });
  }
  const released = await channelCommit(client, rev);
  if (released) return released;
  try {
    return (await fetchCommit(client, rev)).commit;
  } catch (error) {
    if (!(error instanceof CliError) || (error.code !== 'not-found' && error.code !== 'usage')) throw error;
    if (/^\d{1,6}$/.test(rev)) throw noRelease(rev);
    throw new CliError(error.code, `Nothing is named "${rev}".`, {
      cause: error,
      hint: 'Give a channel (treeline release list), a release number, project/artifact, or the first characters of a commit.',
    });
  }
}

function noRelease(rev: string): CliError {
  return new CliError('not-found', `There is no release ${rev}.`, {
    hint: 'Those that there are: treeline release list',
  });
}

async function channelCommit(client: Client, rev: string): Promise<string | null> {
  const match = /^((?:[A-Za-z0-9][\w.-]*:)?[A-Za-z0-9_][\w./-]*)(\^*)$/.exec(rev);
  if (!match) return null;
  const { repository, channel } = parseChannel(match[1]!);
  const answer = await fetchReleases(client, { repository: repository ?? 'public', channel });
  const releases = answer.releases.filter((release) => release.channel === channel);
  let release = releases.find(({ current }) => current);
  let commit = release?.commit ?? null;
  for (const _ of commit ? match[2]! : '') {
    const previous = release?.previous ?? null;
    if (!previous) {
      throw new CliError('not-found', `Channel ${channel} has no release that far back as ${rev}.`, {
        hint: `treeline release list ${channel}`,
      });
    }
    release = newestOf(releases, previous, release!.number);
    commit = previous;
  }
  return commit;
}

/** The release of a commit that came before release `number`. */
function newestOf(releases: Release[], commit: string, number: number): Release | undefined {
  return releases
    .filter((release) => release.commit === commit && release.number < number && release.state === 'published')
    .sort((a, b) => b.number - a.number)[0];
}

/** Releases, newest first. */
export function fetchReleases(
  client: Client,
  query: { repository?: string | undefined; channel?: string | undefined; limit?: number },
): Promise<{ releases: Release[] }> {
  return client.get('releases', query);
}

/** What the server knows of a commit. */
export function fetchCommit(client: Client, rev: string): Promise<CommitInfo> {
  return client.get(`commits/${encodeURIComponent(rev)}`);
}
