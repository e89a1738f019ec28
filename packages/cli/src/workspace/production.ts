import type { Client } from '../connection/client.ts';
import { CliError } from '../errors.ts';
import { fetchReleases, parseChannel } from '../revisions.ts';
import type { Workspace } from './record.ts';

/**
 * What "production" means: the channel that the workspace was checked out from, or that its device follows; without one
 * TREELINE_PRODUCTION, else the only channel that there is.
 *
 * @returns `repository:channel`
 * @throws CliError `usage` when there are several
 */
export async function productionChannel(
  client: Client,
  workspace: Workspace | null,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  if (workspace?.record.channel) return workspace.record.channel;
  if (env.TREELINE_PRODUCTION) {
    const { repository, channel } = parseChannel(env.TREELINE_PRODUCTION);
    return `${repository ?? 'public'}:${channel}`;
  }
  const { releases } = await fetchReleases(client, { limit: 1000 });
  const channels = [
    ...new Set(releases.filter(({ current }) => current).map((one) => `${one.repository}:${one.channel}`)),
  ];
  if (channels.length === 1) return channels[0]!;
  if (channels.length === 0)
    throw new CliError('not-found', 'Nothing is in production yet.', { hint: 'See: treeline release list' });
  throw new CliError('usage', 'Which channel is "production"? There are several.', {
    hint: `Name one of them: ${channels.join(', ')}; or set TREELINE_PRODUCTION to it.`,
  });
}
