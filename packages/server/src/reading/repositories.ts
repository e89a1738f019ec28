import type { Repository } from '../api/schema.ts';
import type { Core } from '../core.ts';
import type { PublishedRepository } from '../publish/registry.ts';
import { keyName, publicKeyOf } from '../publish/signers.ts';
import { channelHeads } from './releases.ts';
import { time } from './time.ts';

/** Repositories with what their channels hold. */
export async function repositoryViews(core: Core, list: readonly PublishedRepository[]): Promise<Repository[]> {
  const heads = await channelHeads(core.db);
  return await Promise.all(
    list.map(async ({ name, settings, refresh, createdAt }) => {
      const publicKeys: Repository['publicKeys'] = [];
      for (const key of settings.signing) {
        const publicKey = await publicKeyOf(core.folder.keys, key);
        if (publicKey !== null) publicKeys.push({ key: keyName(key), publicKey });
      }
      const channels = heads
        .filter((head) => head.repository === name)
        .map(({ channel, commit, publishedAt }) => ({ channel, commit, publishedAt: time(publishedAt) }));
      return {
        name,
        settings,
        path: `/repos/${name}/`,
        publicKeys,
        channels,
        refreshing: refresh,
        createdAt: time(createdAt),
      };
    }),
  );
}
