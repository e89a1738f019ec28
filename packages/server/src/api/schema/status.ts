import { z } from '@hono/zod-openapi';
import { Checksum, Time } from './values.ts';

export const Runner = z
  .object({
    name: z.string(),
    arch: z.string(),
    cpus: z.number(),
    memoryBytes: z.number(),
    gpu: z.boolean(),
    labels: z.array(z.string()),
    /** What it only pretends to have, so that one machine can show the whole line. */
    emulates: z.array(z.string()),
    sandbox: z.enum(['bubblewrap', 'none']),
    embedded: z.boolean(),
    online: z.boolean(),
    lastSeen: Time,
    /** Jobs it runs now: execution ids. */
    executions: z.array(z.string()),
  })
  .openapi('Runner');
export type Runner = z.infer<typeof Runner>;
export const RunnerList = z.object({
  runners: z.array(Runner),
  /** State of the embedded runner's process, for people. */
  embedded: z.object({ enabled: z.boolean(), pid: z.number().nullable(), problem: z.string().nullable() }),
});

export const Status = z
  .object({
    version: z.string(),
    url: z.string(),
    gatewayUrl: z.string().nullable(),
    dataDir: z.string(),
    startedAt: Time,
    projects: z.number(),
    runs: z.object({ running: z.number(), total: z.number() }),
    executions: z.object({ queued: z.number(), leased: z.number() }),
    runners: z.object({ online: z.number(), total: z.number() }),
    channels: z.array(
      z.object({ repository: z.string(), channel: z.string(), commit: Checksum, publishedAt: Time, url: z.string() }),
    ),
    lastEventId: z.number(),
  })
  .openapi('Status');
export type Status = z.infer<typeof Status>;

/** Data of one server-sent event; its SSE id is `id`, its SSE event name `type`. */
export const Event = z
  .object({ id: z.number(), type: z.string(), at: Time, data: z.record(z.string(), z.unknown()) })
  .openapi('Event');
export type Event = z.infer<typeof Event>;
