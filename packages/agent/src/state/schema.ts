import { z } from 'zod';

const Release = z.string().regex(/^[0-9a-f]{64}$/);
const Resting = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('idle') }),
  z.object({ kind: z.literal('good'), release: Release }),
  z.object({ kind: z.literal('failed'), release: Release, why: z.string() }),
  z.object({ kind: z.literal('rolled-back'), from: Release, why: z.string() }),
]);
const State = z.union([
  Resting,
  z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('checking'), resting: Resting }),
    z.object({ kind: z.literal('downloading'), release: Release, resting: Resting }),
    z.object({ kind: z.literal('blocked'), release: Release, why: z.string(), resting: Resting }),
    z.object({ kind: z.literal('staged'), release: Release, resting: Resting, waits: z.string().optional() }),
    z.object({
      kind: z.literal('rebooting'),
      to: Release,
      from: Release.nullable(),
      bootId: z.string(),
      attempt: z.number(),
      undo: z.object({ why: z.string() }).nullable(),
      waits: z.string().optional(),
    }),
    z.object({ kind: z.literal('verifying'), release: Release, from: Release.nullable(), attempt: z.number() }),
  ]),
]);

/** A message to the gateway that is not yet known to have arrived. `id` makes repetition harmless. */
const Report = z.object({
  id: z.string(),
  method: z.enum(['POST', 'PUT']),
  path: z.string(),
  body: z.unknown(),
  /** May be dropped for a newer one of its kind. */
  passing: z.boolean(),
});
export type Report = z.infer<typeof Report>;

/** What fetching a release cost. Bytes are counted on the wire; totals are those of the whole tree. */
const Transfer = z.object({
  release: Release,
  /** Objects fetched. */
  objects: z.number(),
  /** Bytes of the responses' bodies. */
  bytes: z.number(),
  /** Objects of the whole tree; null when that is not known. */
  totalObjects: z.number().nullable(),
  /** Bytes of the whole tree as it would be transferred without anything there; null when that is not known. */
  totalBytes: z.number().nullable(),
  milliseconds: z.number(),
});
export type Transfer = z.infer<typeof Transfer>;

/** Where the board was sent for a release, when the gateway did not have it. */
const Pointed = z.object({ release: Release, url: z.string(), ref: z.string().nullable() });
export type Pointed = z.infer<typeof Pointed>;

/** What a release will take on the wire, as the server said before it was fetched. */
const Planned = z.object({
  release: Release,
  objects: z.number(),
  bytes: z.number(),
  /** By static delta. */
  delta: z.boolean(),
});
export type Planned = z.infer<typeof Planned>;

/** Why, and since when (ms), a person wants the board to stay as it is. */
const Pinned = z.object({ why: z.string(), at: z.number() });
export type Pinned = z.infer<typeof Pinned>;

export const StateFile = z.object({
  version: z.literal(1),
  machine: z.object({
    state: State,
    bad: z
      .array(z.object({ release: Release, why: z.string(), at: z.number(), told: z.boolean().optional() }))
      .readonly(),
  }),
  outbox: z.array(Report),
  /** ms since the epoch of the last answer of the server. */
  checkedAt: z.number().nullable(),
  /** Why the last look at the server failed; null after one that worked. */
  lastError: z.string().nullable(),
  transfer: Transfer.nullable(),
  /** Set when the last release that was fetched is a developer's; files of older agents lack it. */
  pointed: Pointed.nullable().default(null),
  planned: Planned.nullable().default(null),
  pinned: Pinned.nullable().default(null),
  /** Id of the last request of a person that was taken up. */
  handled: z.string().nullable().default(null),
  /** ms since the epoch: the latest that the server's clock was seen to show. It cannot be earlier than that. */
  serverTime: z.number().nullable().default(null),
});
export type StateFile = z.infer<typeof StateFile>;
