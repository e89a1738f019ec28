import { z } from '@hono/zod-openapi';
import { Checksum } from '../api/schema.ts';

const Time = z.iso.datetime();

/** Something on a device that is not as its commit has it. */
export const DeviceChange = z
  .object({
    path: z.string().startsWith('/').max(4096),
    change: z.enum(['added', 'changed', 'removed']),
    type: z.enum(['file', 'folder', 'symlink', 'other']).nullable(),
    mode: z.number().int().min(0).max(0o7777).nullable(),
    uid: z.number().int().min(0).nullable(),
    gid: z.number().int().min(0).nullable(),
    size: z.number().int().min(0).nullable(),
    target: z.string().max(4096).nullable(),
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
