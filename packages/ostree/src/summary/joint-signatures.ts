import type { Metadata } from '../formats/commit.ts';
import { encode, type Variant } from '../gvariant/encode.ts';
import { decodeSignatures, signaturesOf } from '../sign/remote-verification.ts';
import type { SignatureKey } from '../sign/signer.ts';

/** One `summary.sig` for two summaries, in two orders: the order is all that a client with a cache sees of it. */
export interface JointSignatures {
  oldFirst: Buffer;
  newFirst: Buffer;
}

/** Kinds of which one good signature is enough, whatever the others are. */
const ANY_IS_ENOUGH: readonly SignatureKey[] = ['ostree.sign.ed25519', 'ostree.sign.dummy'];

/** A file that a crash left may have signatures of more than one summary before: the first are of the newest. */
const MOST_KEPT = 8;

/**
 * The signatures of two summaries together. Of each kind those of the one come first, which is what counts for GPG.
 *
 * @param before `summary.sig` of the summary that is in place
 * @param next that of the one which comes
 * @returns null when no kind can have both
 */
export function allSignatures(before: Uint8Array, next: Uint8Array): JointSignatures | null {
  const [older, newer] = [decodeSignatures(before), decodeSignatures(next)];
  if (!ANY_IS_ENOUGH.some((kind) => signaturesOf(older, kind) && signaturesOf(newer, kind))) return null;
  const kinds = [...ANY_IS_ENOUGH, 'ostree.gpgsigs' as const].filter((kind) =>
    [older, newer].some((one) => signaturesOf(one, kind)),
  );
  const join = (...both: Metadata[]): Buffer =>
    encode(
      'a{sv}',
      kinds.map((kind): [string, Variant] => {
        const value = both.flatMap((one) => (signaturesOf(one, kind) ?? []).slice(0, MOST_KEPT));
        return [kind, { type: 'aay', value }];
      }),
    );
  return { oldFirst: join(older, newer), newFirst: join(newer, older) };
}
