import { z } from '@hono/zod-openapi';
import { isLabel, labelForm } from '@treeline/pipeline';
import { Checksum, Name, Time } from './values.ts';

/** Who may have a commit: `public`, `internal`, `restricted:<why>`. */
export const Label = z.string().refine(isLabel, `expected ${labelForm}`);

/** A label, and where it is: on the commit itself, or on something that it was made from. */
export const FoundLabel = z
  .object({
    label: z.string(),
    /**
     * What it was put on. `tree`: on another commit of the same tree. `default`: nothing says anything. `lost`: what it
     * was made from is not in the store any more.
     */
    on: z.enum(['commit', 'tree', 'artifact', 'project', 'default', 'lost']),
    /** Names from the commit to what has the label. */
    path: z.array(z.string()),
    /** What has the label. */
    commit: Checksum,
    /** Project whose treeline.yaml says so. */
    project: z.string().nullable(),
    /** Who put it there by hand. */
    by: z.string().nullable(),
    reason: z.string(),
    at: Time.nullable(),
  })
  .openapi('FoundLabel');
export type FoundLabel = z.infer<typeof FoundLabel>;

/** What a label is put on, or taken off: exactly one of commit, project and artifact. */
export const LabelRequest = z
  .strictObject({
    /** Anything that names a commit of the store: every commit of its tree has the label then. */
    commit: z.string().min(1).max(512).optional(),
    /** All that this project's sources make, old and new. */
    project: Name.optional(),
    /** All artifacts of this name, `project/artifact`, old and new. */
    artifact: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\/[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, 'expected project/artifact')
      .optional(),
    label: Label,
    reason: z.string().min(1).max(500),
  })
  .refine(
    ({ commit, project, artifact }) => [commit, project, artifact].filter((one) => one !== undefined).length === 1,
    'expected exactly one of commit, project and artifact',
  )
  .openapi('LabelRequest');
export type LabelRequest = z.infer<typeof LabelRequest>;

export const LabelAnswer = z
  .object({
    /** The commit, project or artifact. */
    labelled: z.string(),
    /** Of a commit: all its labels now. */
    labels: z.array(FoundLabel),
    /** What is published already and would be refused now: a label does not take it back. */
    unadmitted: z.array(
      z.object({
        repository: z.string(),
        channel: z.string(),
        commit: Checksum,
        label: z.string(),
        path: z.array(z.string()),
      }),
    ),
  })
  .openapi('LabelAnswer');
export type LabelAnswer = z.infer<typeof LabelAnswer>;

/** A label that was put on a commit, a project or an artifact. */
export const PutLabel = z
  .object({
    label: z.string(),
    on: z.enum(['commit', 'project', 'artifact']),
    /** The commit, project or `project/artifact`. */
    labelled: z.string(),
    /** Project whose treeline.yaml says so; null = by hand. */
    project: z.string().nullable(),
    by: z.string().nullable(),
    reason: z.string(),
    at: Time,
  })
  .openapi('PutLabel');
export type PutLabel = z.infer<typeof PutLabel>;
export const LabelList = z.object({ labels: z.array(PutLabel) });
