/** Bodies of the device routes: a zod value and its type under one name. Times are ISO 8601 strings. */
import { z } from '@hono/zod-openapi';
import { Checksum, Name, Provenance, RefName } from '../api/schema.ts';

const Time = z.iso.datetime();

/** States that a device reports of itself (the agent's state machine). `silent` is what the server sees, not a report. */
export const DeviceState = z.enum([
  'idle',
  'checking',
  'downloading',
  'blocked',
  'staged',
  'rebooting',
  'verifying',
  'good',
  'failed',
  'rolled-back',
]);
export type DeviceState = z.infer<typeof DeviceState>;

/** Where a device takes its update from instead of from its channel. */
export const DevicePointer = z
  .object({
    /** Address of an OSTree repository. */
    url: z.string(),
    /** What the commit is called there, if that was said. */
    ref: z.string().nullable(),
    commit: Checksum,
    /** Who pointed it there. */
    by: z.string(),
    createdAt: Time,
    expiresAt: Time,
  })
  .openapi('DevicePointer');
export type DevicePointer = z.infer<typeof DevicePointer>;

/** What a device says beside its state, its own word; what it does not say is not known. */
export const StateDetails = z
  .object({
    /** What the release of its state takes on the wire, as it was told before it fetched anything. */
    download: z.object({ objects: z.number(), bytes: z.number(), delta: z.boolean() }).optional(),
    /** The boot loader that counts its boots: `grub`, `uboot`, `systemd-boot`. */
    bootLoader: z.string().max(64).optional(),
    /** Seconds that its clock is behind this server's, where that is much. */
    clockBehind: z.number().optional(),
    /** What is wrong with its operator's settings. */
    settings: z.array(z.string().max(1000)).max(50).optional(),
    /** Why a person keeps it at what it runs. */
    pinned: z.string().max(1000).optional(),
  })
  .openapi('DeviceStateDetails');
export type StateDetails = z.infer<typeof StateDetails>;

export const Device = z
  .object({
    id: z.string(),
    /** False while an operator has not let it in: it gets nothing. */
    accepted: z.boolean(),
    /** Null: the device follows what it asks for. */
    channel: z.string().nullable(),
    repository: z.string(),
    hardwareId: z.string().nullable(),
    /** Last reported state; null while it has reported none. */
    state: DeviceState.nullable(),
    /** Why it is blocked, failed or rolled back. */
    reason: z.string().nullable(),
    /** Release that `state` is about. */
    release: Checksum.nullable(),
    /** Release that it came back from. */
    rolledBackFrom: Checksum.nullable(),
    /** Commit that it runs. */
    current: Checksum.nullable(),
    /** Commit that it should run: its channel's release, or an earlier one where that failed here. */
    target: Checksum.nullable(),
    badReleases: z.array(z.object({ commit: Checksum, reason: z.string().nullable(), at: Time })),
    lastSeen: Time.nullable(),
    /** Since when it has not been heard of, if that is longer than it should be. */
    silentSince: Time.nullable(),
    /** Address that its last request came from. */
    address: z.string().nullable(),
    /** Where it has `release` from, if not from this server; its own word. */
    fetchedFrom: z.string().nullable(),
    details: StateDetails,
    /** Where it is pointed for a while; null: it follows its channel. */
    pointer: DevicePointer.nullable(),
    createdAt: Time,
    /** What `current` was made from: git revisions of all repositories that went into it. Null when unknown. */
    provenance: Provenance.nullable(),
  })
  .openapi('Device');
export type Device = z.infer<typeof Device>;
export const DeviceList = z.object({ devices: z.array(Device) });
export type DeviceList = z.infer<typeof DeviceList>;

export const DeviceEvent = z.object({
  id: z.string(),
  type: z.string(),
  /** By the device's clock. */
  deviceTime: Time,
  receivedAt: Time,
  correlationId: z.string().nullable(),
  target: z.string().nullable(),
  success: z.boolean().nullable(),
  details: z.string().nullable(),
});
export type DeviceEvent = z.infer<typeof DeviceEvent>;

export const DeviceDetail = Device.extend({
  /** Newest first. */
  events: z.array(DeviceEvent),
  /** `system_info`, `network`, `config` …: as the device sent them. */
  inventory: z.record(z.string(), z.unknown()),
}).openapi('DeviceDetail');
export type DeviceDetail = z.infer<typeof DeviceDetail>;

export const DevicePatch = z
  .strictObject({
    accepted: z.boolean().optional(),
    channel: RefName.nullable().optional(),
    repository: Name.optional(),
    /** Takes the next certificate with another key as this device's: after a board was replaced. */
    allowKeyChange: z.boolean().optional(),
    /** Releases to offer again although they failed here. */
    forgive: z.array(Checksum).max(100).optional(),
  })
  .openapi('DevicePatch');
export type DevicePatch = z.infer<typeof DevicePatch>;

/** Longer than anybody leaves a device on a commit that nobody released. */
const MAX_POINT_SECONDS = 30 * 86_400;

export const PointRequest = z
  .strictObject({
    /** Address of the repository that has the commit, as the device reaches it. */
    url: z
      .string()
      .max(1024)
      .refine(isRepositoryUrl, 'expected http://HOST[:PORT][/PATH] or https://…, without user, password and query')
      .transform((url) => url.replace(/\/+$/, '')),
    ref: RefName.optional(),
    commit: Checksum,
    /** For how long. Default 8 hours. */
    seconds: z.number().int().min(1).max(MAX_POINT_SECONDS).optional(),
  })
  .openapi('PointRequest');
export type PointRequest = z.infer<typeof PointRequest>;

/** An address that devices may be sent to. It is shown and logged, so there is nothing secret in it. */
function isRepositoryUrl(text: string): boolean {
  // URL itself forgives blanks and line ends.
  const url = /^[\x21-\x7e]+$/.test(text) && URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') return false;
  return url.username === '' && url.password === '' && !/[?#]/.test(text);
}

export const EnrolmentTokenRequest = z
  .strictObject({
    /** Default one hour. */
    expiresSeconds: z.number().int().min(1).max(31_536_000).optional(),
    /** What the devices follow; without it each follows what it asks for. */
    channel: RefName.optional(),
    /** Default "public". */
    repository: Name.optional(),
    /** How many devices it lets in. Default 1. */
    uses: z.number().int().min(1).max(1_000_000).optional(),
  })
  .openapi('EnrolmentTokenRequest');
export type EnrolmentTokenRequest = z.infer<typeof EnrolmentTokenRequest>;

export const EnrolmentToken = z
  .object({
    /** `<secret>.<sha256 of the gateway's CA certificate>`. Shown once. */
    token: z.string(),
    /** URL of the gateway. */
    gateway: z.string(),
    expiresAt: Time,
    uses: z.number(),
    channel: z.string().nullable(),
    repository: z.string(),
  })
  .openapi('EnrolmentToken');
export type EnrolmentToken = z.infer<typeof EnrolmentToken>;

/** Body of the gateway's `PUT /device/state`. Unknown keys are ignored: agents may be newer than the server. */
export const StateReport = z.object({
  state: DeviceState,
  release: Checksum.nullish(),
  from: Checksum.nullish(),
  reason: z.string().nullish(),
  /** Where `release` was fetched from, if not from the gateway. */
  fetchedFrom: z.string().nullish(),
  /** What makes no sense in it is no reason to refuse the state. */
  details: StateDetails.catch({}).nullish(),
});
export type StateReport = z.infer<typeof StateReport>;
