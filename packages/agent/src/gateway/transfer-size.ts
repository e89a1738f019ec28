import { z } from 'zod';

/** The gateway's answer to `GET /device/download`: what a pull transfers. Bytes are those of bodies on the wire. */
export const TransferSize = z.object({
  objects: z.number(),
  bytes: z.number(),
  /** Content as files have it. */
  unpacked: z.number(),
  /** The same by static delta from a commit that is held. */
  delta: z
    .object({
      from: z.string(),
      bytes: z.number(),
      unpacked: z.number(),
      /** Folder of the repository that its files are in. */
      folder: z.string().regex(/^deltas\/[A-Za-z0-9+_-]{2}\/[A-Za-z0-9+_-]+$/),
      files: z.array(z.object({ name: z.string().regex(/^(superblock|[0-9]{1,6})$/), bytes: z.number() })),
      /** Objects that it leaves to be fetched by themselves. */
      fallbacks: z.number(),
    })
    .nullable(),
});
export type TransferSize = z.infer<typeof TransferSize>;
