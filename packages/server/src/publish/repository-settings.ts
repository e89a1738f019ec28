import { z } from 'zod';

const Days = z.number().min(0).max(36_500);
const Count = z.number().int().min(0).max(10_000);

/** A label of a commit: who may have it. `restricted:` says why, in words that an error can show. */
export const Label = z
  .string()
  .max(200)
  .regex(/^(public|internal|restricted:[^\s,:][^,\n]*)$/, 'expected public, internal, or restricted:<why>');
export type Label = z.infer<typeof Label>;

/** Where a secret key is. The server reads it when it signs; the database has only the place. */
export const SigningKey = z.discriminatedUnion('type', [
  /** File with a base64 secret key (`ostree sign` calls it that): seed + public key, 64 bytes. */
  z.strictObject({ type: z.literal('ed25519'), file: z.string().min(1) }),
  /** Key of a GnuPG home folder. */
  z.strictObject({ type: z.literal('gpg'), key: z.string().min(1), home: z.string().min(1) }),
  /** Program that signs: see `externalSigner` of `@treeline/ostree`. For hardware tokens and signing services. */
  z.strictObject({ type: z.literal('command'), kind: z.enum(['ed25519', 'gpg']), command: z.array(z.string()).min(1) }),
]);
export type SigningKey = z.infer<typeof SigningKey>;

/** How a published repository is run. Every key has a default: `RepositorySettings.parse({})`. */
export const RepositorySettings = z
  .strictObject({
    /** `public`: anybody may read it; `private`: whoever may `read` it. */
    access: z.enum(['public', 'private']).default('private'),
    /**
     * Labels of commits that it takes in: `public`, `internal`, `restricted` (any), `restricted:<why>` (this one).
     * A repository that anybody may read admits `public` alone unless somebody says otherwise.
     */
    admits: z.array(z.union([Label, z.literal('restricted')])).default(['public']),
    /** Who signs its commits and its summary; all of them. */
    signing: z.array(SigningKey).default([]),
    deltas: z
      .strictObject({
        /** From so many releases before; 0 = none. */
        previous: Count.default(1),
        /** Also from what devices of the channel run. */
        devices: z.boolean().default(true),
        /** At most so many for a release: those that most devices run first. */
        most: Count.default(10),
      })
      .prefault({}),
    retention: z
      .strictObject({
        /** The newest so many releases of each channel stay. */
        releases: Count.min(1).default(10),
        /** And all that are younger, in days. */
        youngerThan: Days.default(0),
        /** What is kept by neither goes so long after that, in days: a client may be pulling it. */
        grace: Days.default(1),
      })
      .prefault({}),
    /**
     * Seconds for which a new summary's signature is there before the summary itself, so that a client that asks for
     * one and then the other never gets two that do not fit, whatever serves the folder. Only where it is signed.
     */
    summaryGrace: z.number().min(0).max(60).default(2),
  })
  .readonly();
export type RepositorySettings = z.infer<typeof RepositorySettings>;
