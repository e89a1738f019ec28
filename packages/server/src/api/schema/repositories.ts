import { z } from '@hono/zod-openapi';
import { RepositoryPatch, RepositorySettings, SigningKey } from '../../publish/repository-settings.ts';
import { Checksum, Name, Time } from './values.ts';

export { RepositoryPatch, RepositorySettings, SigningKey };

/** A published repository. */
export const Repository = z
  .object({
    name: z.string(),
    settings: RepositorySettings,
    /** Path below the server's URL. */
    path: z.string(),
    /** Public keys of its signing keys, as far as the server can tell them: of ed25519 files, in base64. */
    publicKeys: z.array(z.object({ key: z.string(), publicKey: z.string() })),
    channels: z.array(z.object({ channel: z.string(), commit: Checksum, publishedAt: Time })),
    /** Whether its settings have changed so that its channels are being signed anew. */
    refreshing: z.boolean(),
    createdAt: Time,
  })
  .openapi('Repository');
export type Repository = z.infer<typeof Repository>;
export const RepositoryList = z.object({ repositories: z.array(Repository) });

export const RepositoryCreate = z
  .strictObject({ name: Name, settings: RepositoryPatch.optional() })
  .openapi('RepositoryCreate');
export type RepositoryCreate = z.infer<typeof RepositoryCreate>;

/** A new ed25519 key: the secret one is in the data folder and goes nowhere. */
export const NewKey = z
  .strictObject({
    /** Name of the file that it gets in the folder `keys`. */
    name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/),
  })
  .openapi('NewKey');
export const MadeKey = z.object({ name: z.string(), publicKey: z.string() }).openapi('MadeKey');
export type MadeKey = z.infer<typeof MadeKey>;
