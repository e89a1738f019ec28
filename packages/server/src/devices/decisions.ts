import type { DeviceRow, EnrolmentTokenRow } from './tables.ts';

/** What to do with a device that is not in the registry but shows a valid certificate. */
export type UnknownDevicePolicy = 'accept' | 'pending' | 'refuse';

export type Refusal = { refused: 'token-invalid' | 'key-changed' | 'unknown-device' | 'not-accepted' };

/**
 * Whether a token lets a device in, and what it costs.
 *
 * A repetition (same token, id and key) is free: the answer to the first request may have been lost. A token does not
 * let anybody take over the id of a device with another key; that needs an operator.
 */
export function decideEnrolment(o: {
  token: EnrolmentTokenRow | undefined;
  device: DeviceRow | undefined;
  publicKey: string;
  now: number;
}): Refusal | { use: 0 | 1 } {
  const { token, device } = o;
  if (token === undefined || token.expires_at <= o.now) return { refused: 'token-invalid' };
  if (device !== undefined && device.public_key !== o.publicKey && device.key_change_allowed === 0) {
    return { refused: 'key-changed' };
  }
  const repeated = device?.token_hash === token.hash && device.public_key === o.publicKey && device.accepted === 1;
  if (repeated) return { use: 0 };
  return token.uses_left > 0 ? { use: 1 } : { refused: 'token-invalid' };
}

/** What to do with a request whose certificate is ours: serve it, take the device (or its new key) in, or refuse. */
export function decideAdmission(o: {
  device: DeviceRow | undefined;
  publicKey: string;
  policy: UnknownDevicePolicy;
}): Refusal | 'known' | 'create-accepted' | 'create-pending' | 'change-key' {
  if (o.device === undefined) {
    if (o.policy === 'refuse') return { refused: 'unknown-device' };
    return o.policy === 'accept' ? 'create-accepted' : 'create-pending';
  }
  if (o.device.public_key !== o.publicKey) {
    return o.device.key_change_allowed === 1 ? 'change-key' : { refused: 'key-changed' };
  }
  return 'known';
}

/**
 * What a device should run: its channel's release; where that was bad on this device, the newest earlier release that
 * was not; else what it runs now. Null when there is nothing to offer.
 *
 * INVARIANT: a release in `bad` is never the answer.
 *
 * @param o.history the channel's releases, newest first; may contain the current one and repetitions
 */
export function decideOffer(o: {
  current: string | null;
  history: readonly string[];
  bad: ReadonlySet<string>;
  running: string | null;
}): string | null {
  if (o.current === null) return null;
  for (const commit of [o.current, ...o.history]) if (!o.bad.has(commit)) return commit;
  return o.running !== null && !o.bad.has(o.running) ? o.running : null;
}

/** Whether a device should run what it is pointed at: the time is not over, and it did not fail there. */
export function isPointed(pointer: { expires_at: number }, o: { bad: boolean; now: number }): boolean {
  return pointer.expires_at > o.now && !o.bad;
}

/** Release that a report says is bad on the device, if it says so. */
export function releaseFailed(report: {
  state: string;
  release?: string | null | undefined;
  from?: string | null | undefined;
}): string | null {
  if (report.state === 'failed') return report.release ?? null;
  if (report.state === 'rolled-back') return report.from ?? null;
  return null;
}
