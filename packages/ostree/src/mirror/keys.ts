import { gpgKeyring } from '../sign/gpg-keyring.ts';
import type { Signed, Verification } from '../sign/remote-verification.ts';
import { signatureType } from '../sign/signature-type.ts';
import type { MirrorOptions } from './mirror.ts';

/**
 * What commits and the summary have to be signed with; null where nothing is demanded. Where there are keys of both
 * kinds, each of the two is demanded.
 *
 * @throws OstreeError `signature` for a malformed key
 */
export async function verificationsOf(
  options: Pick<MirrorOptions, 'keys' | 'unsignedSummary' | 'url'>,
): Promise<{ commits: Verification | null; summary: Verification | null }> {
  const { gpg = [], ed25519 = [] } = options.keys ?? {};
  const ring = gpg.length > 0 ? gpgKeyring([], gpg) : null;
  const verifier = ed25519.length > 0 ? await signatureType('ed25519').verifier({ inline: ed25519 }) : null;
  const demand = (what: Signed): Verification | null =>
    ring || verifier ? { what, remote: options.url, gpg: ring, sign: verifier && [verifier] } : null;
  return { commits: demand('commit'), summary: options.unsignedSummary ? null : demand('summary') };
}
