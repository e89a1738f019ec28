import { z } from '@hono/zod-openapi';
import { Checksum } from '../api/schema.ts';

const Time = z.iso.datetime();

/** Something on a device that is not as its commit has it. */
export const DeviceChange = z
  .object({
    path: z.string().startsWith('/').max(4096),
    change: z.enum(['added', 'changed', 'removed']),
    /** What is other about something that was changed. An agent that does not say it knows of content at least. */
    differs: z
      .array(z.enum(['type', 'content', 'target', 'mode', 'owner', 'xattrs']))
      .max(6)
      .default([]),
    /** Of what is removed, what it was; null from an agent that does not say it. */
    type: z.enum(['file', 'folder', 'symlink', 'other']).nullable(),
    mode: z.number().int().min(0).max(0o7777).nullable(),
    uid: z.number().int().min(0).nullable(),
    gid: z.number().int().min(0).nullable(),
    size: z.number().int().min(0).nullable(),
    target: z.string().max(4096).nullable(),
    /** Extended attributes as they are now, values in Base64; null where they are not known. */
    xattrs: z
      .array(z.object({ name: z.string().min(1).max(255), value: z.base64() }))
      .max(256)
      .nullable()
      .default(null),
    /** Base64 of a file's content. */
    content: z.base64().nullable(),
    /** Why the content is not here: only its owner may read it, or it is too large. */
    omitted: z.enum(['secret', 'large']).nullable(),
  })
  .openapi('DeviceChange');
export type DeviceChange = z.infer<typeof DeviceChange>;

/** Body of the gateway's `PUT /device/difference`. */
export const DifferenceAnswer = z.object({
  request: z.string().max(64),
  /** Commit that the device runs. */
  commit: Checksum.nullable(),
  changes: z.array(DeviceChange).max(5000),
  complete: z.boolean(),
});
export type DifferenceAnswer = z.infer<typeof DifferenceAnswer>;

export const DeviceDifference = z
  .object({
    /** `none`: nobody has asked; `waiting`: the device has not answered yet. */
    state: z.enum(['none', 'waiting', 'answered']),
    by: z.string().nullable(),
    askedAt: Time.nullable(),
    answeredAt: Time.nullable(),
    commit: Checksum.nullable(),
    changes: z.array(DeviceChange),
    complete: z.boolean(),
  })
  .openapi('DeviceDifference');
export type DeviceDifference = z.infer<typeof DeviceDifference>;
