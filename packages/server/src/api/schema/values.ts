import { z } from '@hono/zod-openapi';

export const Checksum = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits');
export const Tree = z.object({ contents: Checksum, meta: Checksum }).openapi('Tree');
export type Tree = z.infer<typeof Tree>;

/** A project, job, artifact or repository name. */
export const Name = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'expected 1 to 63 letters, digits, ".", "_" or "-", starting with a letter or digit',
  );
/**
 * A channel: an OSTree ref such as `robot/edge`. A part of it is a file's name, at most 255 bytes on Linux, and its
 * durable write needs some of them for the temporary name.
 */
export const RefName = z
  .string()
  .max(255)
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/, 'expected a ref such as robot/edge')
  .refine((ref) => ref.split('/').every((part) => part.length <= 200), 'each part of a ref has at most 200 characters');
export const Time = z.iso.datetime();

export const ErrorBody = z
  .object({
    error: z.object({
      code: z.string(),
      message: z.string(),
      hint: z.string().optional(),
      requestId: z.string(),
      /** Facts of some codes: `diagnostics` of pipeline-invalid, `missing` of outputs-incomplete, `current` of conflict. */
      data: z.unknown().optional(),
    }),
  })
  .openapi('Error');
export type ErrorBody = z.infer<typeof ErrorBody>;

/** Something that went wrong with a thing that goes on. */
export const Problem = z.object({ code: z.string(), message: z.string(), hint: z.string().optional() });

/** A git revision that is in the store. */
export const Source = z.object({
  project: z.string(),
  url: z.string(),
  revision: z.string(),
  subject: z.string(),
  commit: Checksum,
});
export type Source = z.infer<typeof Source>;
