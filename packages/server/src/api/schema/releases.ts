import { z } from '@hono/zod-openapi';
import { Checksum, Name, RefName, Time } from './values.ts';

/** Anything that names a commit of the store: checksum, abbreviation, ref, or `project/artifact` (its newest). */
const Wanted = z.string().min(1).max(512);
/** Compare-and-swap: the commit that the channel must have now; null = the channel must not exist. */
const Expect = Checksum.nullable().optional();

/** One commit for one channel, or `items`: several that become visible together, all or none. */
export const PublishRequest = z
  .strictObject({
    commit: Wanted.optional(),
    channel: RefName.optional(),
    expect: Expect,
    items: z
      .array(z.strictObject({ commit: Wanted, channel: RefName, expect: Expect }))
      .min(1)
      .max(1000)
      .optional(),
    repository: Name.optional(),
    reason: z.string().min(1).max(500).optional(),
    /** Of a commit that was made for other refs (`ostree.ref-binding`), make one of the same tree for these channels. */
    rebind: z.boolean().optional(),
  })
  .refine(
    ({ items, commit, channel, expect }) =>
      items ? commit === undefined && channel === undefined && expect === undefined : commit && channel,
    'expected commit and channel, or items',
  )
  .openapi('PublishRequest');
export type PublishRequest = z.infer<typeof PublishRequest>;

/** How far a step has got, where that can be counted. */
const Progress = z.object({ done: z.number(), total: z.number() });

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
    /** Of what it became visible with: that of the first of those releases. */
    publication: z.number().nullable(),
    /** What is being done for it, or was when it was given up: see `Publication`. */
    step: z.string().nullable(),
    progress: Progress.nullable(),
    /** Who published it by hand; null = a run. */
    by: z.string().nullable(),
    /** Whose wish it is that its commit stays, whatever retention says. */
    pinned: z.object({ by: z.string(), reason: z.string() }).nullable(),
    /** Since when nothing keeps its commit in the repository any more: it goes when its grace is over. */
    droppedAt: Time.nullable(),
    createdAt: Time,
    publishedAt: Time.nullable(),
  })
  .openapi('Release');
export type Release = z.infer<typeof Release>;
export const ReleaseList = z.object({ releases: z.array(Release) });

/** One or several releases that become visible together. */
export const Publication = z
  .object({
    number: z.number(),
    repository: z.string(),
    state: Release.shape.state,
    /** labels, closure, signatures, deltas, refs, indexes, summary: in this order. null before the first and at the end. */
    step: z.string().nullable(),
    progress: Progress.nullable(),
    message: z.string().nullable(),
    reason: z.string(),
    by: z.string().nullable(),
    runId: z.string().nullable(),
    /** Whether its repository was made for it, private and with the defaults, since there was none. */
    madeRepository: z.boolean(),
    releases: z.array(Release),
    /** Which keys have signed which commits. */
    signatures: z.array(z.object({ commit: Checksum, key: z.string() })),
    /** Static deltas; without a `failed` one the release is larger to fetch, and nothing else. */
    deltas: z.array(
      z.object({
        from: Checksum,
        to: Checksum,
        state: z.enum(['made', 'there', 'failed']),
        bytes: z.number().nullable(),
        message: z.string().nullable(),
      }),
    ),
    /** Labels of its commits, by which way each came in. */
    labels: z.array(z.object({ commit: Checksum, label: z.string(), path: z.array(z.string()) })),
    /** Declarations (`releases:` of a treeline.yaml) that let something in which the repository does not admit. */
    declared: z.array(
      z.object({
        release: z.string(),
        channel: z.string(),
        /** The artifact that was declared releasable: `project` and `artifact`. */
        project: z.string(),
        artifact: z.string(),
        because: z.string(),
        /** git revision, and where in it. */
        revision: z.string(),
        file: z.string(),
        line: z.number(),
        passed: z.array(z.object({ label: z.string(), path: z.array(z.string()) })),
      }),
    ),
    createdAt: Time,
    finishedAt: Time.nullable(),
  })
  .openapi('Publication');
export type Publication = z.infer<typeof Publication>;

export const ReleaseDetail = z.object({ release: Release, publication: Publication }).openapi('ReleaseDetail');
export type ReleaseDetail = z.infer<typeof ReleaseDetail>;

export const RevertRequest = z
  .strictObject({
    repository: Name.optional(),
    /** Channels that go back together. */
    channels: z.array(RefName).min(1).max(1000),
    /** Number of the release whose commit the channel gets back; default: the one before its current one. One channel only. */
    to: z.number().int().positive().optional(),
    reason: z.string().min(1).max(500).optional(),
  })
  .openapi('RevertRequest');
export type RevertRequest = z.infer<typeof RevertRequest>;
