import { z } from '@hono/zod-openapi';
import { Checksum, Name, Time } from './values.ts';

/** Where a release of a commit is, for people who know it by that. */
const ReleaseOf = z.object({ repository: z.string(), channel: z.string(), number: z.number() });

export const PinRequest = z
  .strictObject({
    /** Anything that names a commit of the store, as for publishing; a checksum names one of the repository, too. */
    commit: z.string().min(1).max(512),
    /** Only there; left out: wherever it is. */
    repository: Name.optional(),
    /** Why, for whoever wonders later. */
    reason: z.string().min(1).max(500).optional(),
  })
  .openapi('PinRequest');
export type PinRequest = z.infer<typeof PinRequest>;

export const Pin = z
  .object({
    commit: Checksum,
    /** null: wherever it is, the store included. */
    repository: z.string().nullable(),
    /** Who pinned it. */
    by: z.string(),
    reason: z.string(),
    createdAt: Time,
    /** Releases of it, newest first. */
    releases: z.array(ReleaseOf),
  })
  .openapi('Pin');
export type Pin = z.infer<typeof Pin>;
export const PinList = z.object({ pins: z.array(Pin) });

export const PruneRequest = z
  .strictObject({
    /** Delete nothing, only say what would go. */
    dryRun: z.boolean().optional(),
  })
  .openapi('PruneRequest');
export type PruneRequest = z.infer<typeof PruneRequest>;

export const Freed = z
  .object({
    objects: z.number(),
    /** Bytes of their files. */
    bytes: z.number(),
    /** Of these, bytes that other names of the files keep: in the store, in another repository. */
    linked: z.number(),
    deltas: z.number(),
    deltaBytes: z.number(),
  })
  .openapi('Freed');
export type Freed = z.infer<typeof Freed>;

export const PrunedRepository = z
  .object({
    /** null: the private store. */
    repository: z.string().nullable(),
    dryRun: z.boolean(),
    /** What there is in a published repository; of the store only what nothing names. */
    commits: z.array(
      z.object({
        commit: Checksum,
        /** `going`: in a dry run, it would go now; `gone`: it went. `dropped`: it goes later. */
        state: z.enum(['kept', 'dropped', 'going', 'gone']),
        /** Why it stays. */
        reasons: z.array(z.string()),
        releases: z.array(ReleaseOf),
        droppedAt: Time.nullable(),
        /** null while something names it, or it is kept. */
        goesAt: Time.nullable(),
      }),
    ),
    /** Commits that stay, by what names them. */
    kept: z.record(z.string(), z.number()),
    /** What went; of a dry run, what would. */
    freed: Freed,
    /** Of a dry run: what goes besides, when every grace is over. */
    waiting: Freed.nullable(),
  })
  .openapi('PrunedRepository');
export type PrunedRepository = z.infer<typeof PrunedRepository>;

export const Amount = z
  .object({
    objects: z.number(),
    /** Length of their files, as they are stored: compressed. */
    bytes: z.number(),
    /** What the file system has set aside for them: whole blocks. */
    allocated: z.number(),
    /** Of `bytes`, what is in files that have other names, too. */
    linked: z.number(),
  })
  .openapi('Amount');
const DeltaAmount = z.object({ deltas: z.number(), bytes: z.number(), allocated: z.number() }).openapi('DeltaAmount');
const Use = z.object({
  total: Amount,
  /** What nothing else of the same kind (another ref, another release) needs. */
  exclusive: Amount,
  shared: Amount,
  /** Static deltas that lead there. */
  deltas: DeltaAmount,
});

export const RepositoryUse = z
  .object({
    /** null: the private store. */
    repository: z.string().nullable(),
    /** All that is in its folder. */
    bytes: z.number(),
    allocated: z.number(),
    /** Of this, what is in files that were counted for a repository before it in the list. */
    counted: z.object({ bytes: z.number(), allocated: z.number() }),
    objects: Amount,
    /** Objects that no commit needs. */
    unreferenced: Amount,
    deltas: DeltaAmount,
    /** Refs, summary, delta indexes and whatever else is in the folder. */
    other: z.object({ files: z.number(), bytes: z.number(), allocated: z.number() }),
    refs: z.array(
      Use.extend({
        /** A ref; `(others)`: commits of no ref and no release. Of the store, `results/*` and the like are one. */
        name: z.string(),
        releases: z.array(
          Use.extend({
            commit: Checksum,
            /** Newest first. */
            numbers: z.array(z.number()),
            current: z.boolean(),
            dropped: z.boolean(),
          }),
        ),
      }),
    ),
  })
  .openapi('RepositoryUse');
export type RepositoryUse = z.infer<typeof RepositoryUse>;
export const DiskUseAnswer = z
  .object({
    repositories: z.array(RepositoryUse),
    /** All of them, each file once. */
    bytes: z.number(),
    allocated: z.number(),
  })
  .openapi('DiskUse');
export type DiskUseAnswer = z.infer<typeof DiskUseAnswer>;
