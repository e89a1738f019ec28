import { OstreeError } from '@treeline/ostree/errors.ts';
import { readDetachedMetadata, readMetadata } from '@treeline/ostree/repo/objects.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { signaturesOf } from '@treeline/ostree/sign/remote-verification.ts';
import { deleteSignatures, signCommit } from '@treeline/ostree/sign/sign.ts';
import { type PublicKeys, type SignatureType, signatureType } from '@treeline/ostree/sign/signature-type.ts';
import { type Parsed, UsageError } from '../options.ts';
import { keySigners } from '../signers.ts';
import { signingOptions } from '../signing-options.ts';
import { commitOf, openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const sign: RepoVerb = {
  usage: 'COMMIT KEY-ID…',
  options: {
    delete: { type: 'boolean', short: 'd', help: 'Delete signatures made by any of the KEY-IDs' },
    verify: { type: 'boolean', help: 'Verify signatures' },
    'sign-type': { ...signingOptions['sign-type']!, short: 's' },
    'sign-command': signingOptions['sign-command']!,
    'keys-file': { type: 'string', argument: 'NAME', help: 'Read keys from file' },
    'keys-dir': {
      type: 'string',
      argument: 'NAME',
      help: 'Redefine system-wide directories with public and revoked keys for verification',
    },
  },
  async run(parsed, signal) {
    const rev = parsed.positionals[0];
    if (rev === undefined) throw new UsageError('Need a COMMIT to sign or verify', { showHelp: true });
    const keys = parsed.positionals.slice(1);
    const file = parsed.text('keys-file');
    if (!parsed.flag('verify') && file === undefined && keys.length === 0 && parsed.list('sign-command').length === 0) {
      throw new UsageError('Need at least one KEY-ID to sign with', { showHelp: true });
    }
    const repo = await openNamedRepo(parsed);
    const commit = await commitOf(repo, rev);
    if (parsed.flag('verify')) await verify(repo, commit, parsed);
    else if (parsed.flag('delete')) await remove(repo, commit, parsed);
    else {
      const signers = await keySigners(parsed, keys, file === undefined ? [] : [file]);
      await signCommit(repo, commit, signers, { signal });
    }
  },
};

function typeOf(parsed: Parsed): SignatureType {
  return signatureType(parsed.text('sign-type') ?? 'ed25519');
}

/** One good signature by any of the keys is enough: those named, then those of the file or the folders. */
async function verify(repo: Repo, commit: string, parsed: Parsed): Promise<void> {
  const type = typeOf(parsed);
  const named = parsed.positionals.slice(1);
  const file = parsed.text('keys-file');
  const data = await readMetadata(repo, 'commit', commit);
  const signatures = signaturesOf(await readDetachedMetadata(repo, commit), type.metadataKey);
  const check = async (keys: PublicKeys): Promise<string> => {
    const verifier = await type.verifier(keys);
    if (!signatures) throw new OstreeError('signature', `${type.name}: commit have no signatures of my type`);
    return verifier.verify(data, signatures);
  };
  for (const key of named) {
    const found = await check({ inline: [key] }).catch((error: unknown) => {
      if (error instanceof OstreeError) return null; // the next one may do
      throw error;
    });
    if (found !== null) {
      say(found);
      return;
    }
  }
  if (named.length > 0 && file === undefined) throw new OstreeError('signature', 'No valid signatures found');
  say(await check(file !== undefined ? { file } : { folder: parsed.text('keys-dir') ?? null }));
}

/** Deletes what verifies with one of the public keys. */
async function remove(repo: Repo, commit: string, parsed: Parsed): Promise<void> {
  const type = typeOf(parsed);
  const file = parsed.text('keys-file');
  const verifier = await type.verifier({ inline: parsed.positionals.slice(1), ...(file !== undefined && { file }) });
  const data = await readMetadata(repo, 'commit', commit);
  const signatures = signaturesOf(await readDetachedMetadata(repo, commit), type.metadataKey) ?? [];
  const theirs = new Set<string>();
  for (const signature of signatures) {
    const good = await Promise.resolve()
      .then(() => verifier.verify(data, [signature]))
      .catch(() => null);
    if (good !== null) theirs.add(Buffer.from(signature).toString('hex'));
  }
  const deleted = await deleteSignatures(repo, commit, type.metadataKey, (signature) =>
    theirs.has(Buffer.from(signature).toString('hex')),
  );
  say(`Signatures deleted: ${deleted}`);
}
