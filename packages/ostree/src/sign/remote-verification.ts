import { OstreeError } from '../errors.ts';
import type { Metadata } from '../formats/commit.ts';
import type { Repo } from '../repo/repo.ts';

/** What must be verified before it is trusted. */
export type Signed = 'commit' | 'summary';

/** What a remote demands of what it serves, with the keys that count. Made by `remoteVerification`. */
export interface Verification {
  readonly what: Signed;
  readonly remote: string | undefined;
  /** `security: GPG:` and `security: SIGN:` of `ostree pull`: which of the two are demanded. */
  readonly gpg: boolean;
  readonly sign: boolean;
}

/** A signature that was found good. */
export interface VerifiedSignature {
  kind: 'gpg' | 'ed25519' | 'dummy';
  /** What `ostree` says of it: one line, several for GPG. */
  text: string;
}

export interface VerificationOverrides {
  /** Instead of the remote's `gpg-verify` or `gpg-verify-summary`. */
  gpg?: boolean;
  /** `false`: whatever the remote's `sign-verify` or `sign-verify-summary` says, do not look. */
  sign?: false;
}

/**
 * What a remote's configuration demands of commits or of the summary: `gpg-verify` (default true), `sign-verify`;
 * `gpg-verify-summary`, `sign-verify-summary` (default false). Null when it demands nothing, as for no remote.
 *
 * @throws OstreeError `not-found` for an unknown remote, `signature` when keys that are configured cannot be had
 */
export async function remoteVerification(
  _repo: Repo,
  _remote: string | undefined,
  _what: Signed,
  _overrides: VerificationOverrides = {},
): Promise<Verification | null> {
  throw new OstreeError('unsupported', 'signatures cannot be verified yet');
}

/**
 * Checks signatures of `data`. Where both GPG and another type are demanded, each must have a good one.
 *
 * @param signatures detached metadata: of the commit, or what `summary.sig` holds; null for none
 * @param subject what the data is, for errors: `commit <checksum>` or `summary`
 * @throws OstreeError `signature` in libostree's words
 */
export async function verifySigned(
  _verification: Verification,
  _data: Uint8Array,
  _signatures: Metadata | null,
  _subject: string,
): Promise<VerifiedSignature[]> {
  throw new OstreeError('unsupported', 'signatures cannot be verified yet');
}
