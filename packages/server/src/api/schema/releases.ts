import { z } from '@hono/zod-openapi';
import { Checksum, Name, RefName, Time } from './values.ts';

export const PublishRequest = z
  .strictObject({
    /** Anything that names a commit of the store: checksum, abbreviation, ref, or `project/artifact` (its newest). */
    commit: z.string().min(1).max(512),
    repository: Name.optional(),
    channel: RefName,
    /** Compare-and-swap: the commit that the channel must have now; null = the channel must not exist. */
    expect: Checksum.nullable().optional(),
    reason: z.string().min(1).max(500).optional(),
  })
  .openapi('PublishRequest');
export type PublishRequest = z.infer<typeof PublishRequest>;

export const Release = z
  .object({
    id: z.string(),
    number: z.number(),
    repository: z.string(),
    channel: z.string(),
    commit: Checksum,
    previous: Checksum.nullable(),
    /** `withdrawn`: it was published in a repository that was removed since. */
    state: z.enum(['publishing', 'published', 'abandoned', 'failed', 'withdrawn']),
    artifact: z.string().nullable(),
    runId: z.string().nullable(),
    reason: z.string(),
    message: z.string().nullable(),
    /** True for the channel's release of this moment. */
    current: z.boolean(),
    createdAt: Time,
    publishedAt: Time.nullable(),
  })
  .openapi('Release');
export type Release = z.infer<typeof Release>;
export const ReleaseList = z.object({ releases: z.array(Release) });
