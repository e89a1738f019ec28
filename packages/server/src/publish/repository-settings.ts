import { z } from '@hono/zod-openapi';
import { isLabel, labelForm } from '@treeline/pipeline';

const Days = z.number().min(0).max(36_500);
const Count = z.number().int().min(0).max(10_000);

const KeyFile = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, 'expected the name of something in the folder keys of the data folder');
const Argument = z
  .string()
  .max(1000)
  .refine((text) => !text.includes('\0'), 'a NUL byte');

/**
 * Where a secret key is: always in the folder `keys` of the data folder (or linked there), so that whoever may
 * administer over the network cannot thereby read files or run programs of this machine. The server reads a key when
 * it signs; the database has only its name.
 */
export const SigningKey = z.discriminatedUnion('type', [
  /** File with a base64 secret key (`ostree sign` calls it that): seed + public key, 64 bytes. */
  z.strictObject({ type: z.literal('ed25519'), file: KeyFile }),
  /** Key of a GnuPG home folder: key id, fingerprint or user. */
  z.strictObject({
    type: z.literal('gpg'),
    key: z
      .string()
      .max(200)
      .regex(/^[^-\0\n][^\0\n]*$/, 'expected a key id, fingerprint or user'),
    home: KeyFile,
  }),
  /**
   * Program that signs, for hardware tokens and signing services: its name in `keys`, then arguments. What is to be
   * signed is on its standard input; on its standard output it writes the raw signature (`ed25519`) or a detached
   * OpenPGP one (`gpg`).
   */
  z.strictObject({
    type: z.literal('command'),
    kind: z.enum(['ed25519', 'gpg']),
    command: z.tuple([KeyFile], Argument),
  }),
]);
export type SigningKey = z.infer<typeof SigningKey>;

const Access = z.enum(['public', 'private']);
/** A label, or `restricted` for all that begin with it. */
const Admitted = z
  .string()
  .refine((text) => text === 'restricted' || isLabel(text), `expected ${labelForm}, or restricted for any reason`);
const Admits = z.array(Admitted).max(100);
const Signing = z.array(SigningKey).max(10);
const SummaryGrace = z.number().min(0).max(60);

/** How a published repository is run. Every key has a default: `RepositorySettings.parse({})`. */
export const RepositorySettings = z
  .strictObject({
    /** `public`: anybody may read it; `private`: whoever may `read` it. */
    access: Access.default('private'),
    /**
     * Labels of commits that it takes in beside `public`: `internal`, `restricted` (any), `restricted:<why>` (this
     * one).
     */
    admits: Admits.default(['public']),
    /** Who signs its commits and its summary; all of them. */
    signing: Signing.default([]),
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
    summaryGrace: SummaryGrace.default(2),
  })
  .readonly()
  .openapi('RepositorySettings');
export type RepositorySettings = z.infer<typeof RepositorySettings>;

/** What is changed of a repository's settings; what is left out stays. */
export const RepositoryPatch = z
  .strictObject({
    access: Access,
    admits: Admits,
    signing: Signing,
    deltas: z.strictObject({ previous: Count, devices: z.boolean(), most: Count }).partial(),
    retention: z.strictObject({ releases: Count.min(1), youngerThan: Days, grace: Days }).partial(),
    summaryGrace: SummaryGrace,
  })
  .partial()
  .openapi('RepositoryPatch');
export type RepositoryPatch = z.infer<typeof RepositoryPatch>;

/** What is stored of settings after a change: only what was ever set, so that a default may become a better one. */
export function mergeSettings(stored: RepositoryPatch, patch: RepositoryPatch): RepositoryPatch {
  return {
    ...stored,
    ...patch,
    ...(patch.deltas ? { deltas: { ...stored.deltas, ...patch.deltas } } : {}),
    ...(patch.retention ? { retention: { ...stored.retention, ...patch.retention } } : {}),
  };
}
