import { z } from 'zod';

const EVENT_TYPES = [
  'MetadataUpdateCompleted',
  'EcuDownloadStarted',
  'EcuDownloadCompleted',
  'EcuInstallationStarted',
  'EcuInstallationApplied',
  'EcuInstallationCompleted',
] as const;

const TEXT_LIMIT = 8192;

/** PostgreSQL's text has no NUL, and a report must not be lost for one; long texts keep their end, where errors are. */
export function storableText(text: string, limit = TEXT_LIMIT): string {
  const clean = text.replaceAll('\0', '\uFFFD');
  return clean.length > limit ? `…${clean.slice(-limit)}` : clean;
}

const Text = z.string().transform((text) => storableText(text));

/** One element of aktualizr's `POST /events`. Unknown keys are ignored. */
const WireEvent = z.object({
  id: z
    .string()
    .min(1)
    .max(128)
    .regex(/^[\x21-\x7e]+$/),
  deviceTime: z.iso.datetime({ offset: true }).transform((text) => Date.parse(text)),
  eventType: z.object({ id: z.enum(EVENT_TYPES), version: z.number().optional() }),
  event: z.object({
    correlationId: Text.nullish(),
    targetName: Text.nullish(),
    success: z.boolean().nullish(),
    details: Text.nullish(),
  }),
});

export interface ReceivedEvent {
  id: string;
  type: string;
  /** ms by the device's clock. */
  deviceTime: number;
  correlationId: string | null;
  target: string | null;
  success: boolean | null;
  details: string | null;
}

/** The well-formed events of a batch, each id once, in order; what is malformed is left out and counted. */
export function parseEvents(batch: readonly unknown[]): { events: ReceivedEvent[]; malformed: number } {
  const events = new Map<string, ReceivedEvent>();
  let malformed = 0;
  for (const item of batch) {
    const parsed = WireEvent.safeParse(item);
    if (!parsed.success) {
      malformed += 1;
      continue;
    }
    const { id, deviceTime, eventType, event } = parsed.data;
    if (events.has(id)) continue;
    events.set(id, {
      id,
      type: eventType.id,
      deviceTime,
      correlationId: event.correlationId ?? null,
      target: event.targetName ?? null,
      success: event.success ?? null,
      details: event.details ?? null,
    });
  }
  return { events: [...events.values()], malformed };
}
