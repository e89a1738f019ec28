import { applyOfflineDelta } from '@treeline/ostree/delta/offline.ts';
import type { Superblock } from '@treeline/ostree/delta/superblock.ts';
import { isSignedDelta, verifyDelta, verifySuperblock } from '@treeline/ostree/delta/verify.ts';
import { OstreeError } from '@treeline/ostree/errors.ts';
import { signatureType, type Verifier } from '@treeline/ostree/sign/signature-type.ts';
import type { OptionSpec, Parsed } from '../options.ts';
import { signingOptions } from '../signing-options.ts';
import { openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

const keyOptions: Record<string, OptionSpec> = {
  'sign-type': signingOptions['sign-type']!,
  'keys-file': { type: 'string', argument: 'NAME', help: 'Read key(s) from file' },
  'keys-dir': {
    type: 'string',
    argument: 'NAME',
    help: 'Redefine system-wide directories with public and revoked keys for verification',
  },
};

export const staticDeltaVerify: RepoVerb = {
  usage: 'STATIC-DELTA-FILE [KEY-ID...]',
  options: keyOptions,
  async run(parsed) {
    const name = required(parsed, 0, 'DELTA must be specified');
    const repo = await openNamedRepo(parsed);
    const verifier = await verifierOf(parsed);
    try {
      await verifyDelta(repo, name, verifier);
    } catch (error) {
      say('Verification fails');
      throw error;
    }
    say('Verification OK');
  },
};

export const staticDeltaApplyOffline: RepoVerb = {
  usage: 'PATH [KEY-ID...]',
  options: keyOptions,
  async run(parsed, signal) {
    const path = required(parsed, 0, 'PATH must be specified');
    const repo = await openNamedRepo(parsed);
    const mandatory = repo.config.get('core')?.get('sign-verify-deltas') === 'true';
    const verifier = await verifierIfAny(parsed);
    const verify = async (superblock: Superblock) => {
      if (!isSignedDelta(superblock)) return;
      if (verifier) await verifySuperblock(superblock, verifier);
      else if (mandatory) throw new OstreeError('signature', 'Key is mandatory to check delta signature');
    };
    await applyOfflineDelta(repo, path, { verify, signal });
  },
};

/** Keys of the command line; of a file or a folder where there are none, or where one is named. */
async function verifierOf(parsed: Parsed): Promise<Verifier> {
  const inline = parsed.positionals.slice(1);
  const file = parsed.text('keys-file');
  const folder = parsed.text('keys-dir');
  const fromFiles = file !== undefined ? { file } : inline.length === 0 ? { folder: folder ?? null } : {};
  return signatureType(parsed.text('sign-type') ?? 'ed25519').verifier({ inline, ...fromFiles });
}

/** Where nobody names a key and the system trusts none, there is nothing to verify with. */
async function verifierIfAny(parsed: Parsed): Promise<Verifier | null> {
  try {
    return await verifierOf(parsed);
  } catch (error) {
    const named = parsed.positionals.length > 1 || parsed.text('keys-file') !== undefined;
    if (named || parsed.text('keys-dir') !== undefined || !(error instanceof OstreeError)) throw error;
    return null;
  }
}
