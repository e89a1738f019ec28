import { OstreeError } from '../errors.ts';
import { type Metadata, metadataValue } from '../formats/commit.ts';
import { unescapeKeyFileString } from '../formats/keyfile.ts';
import { decode } from '../gvariant/decode.ts';
import { readRemote } from '../repo/remotes.ts';
import type { Repo } from '../repo/repo.ts';
import { type GpgKeyring, remoteKeyring } from './gpg-keyring.ts';
import { formatGpgSignature } from './gpg-signature.ts';
import { SIGNATURE_TYPES, signatureType, type Verifier } from './signature-type.ts';
import type { SignatureKey } from './signer.ts';

/** What must be verified before it is trusted. */
export type Signed = 'commit' | 'summary';

/** What a remote demands of what it serves, with the keys that count. Made by `remoteVerification`. */
export interface Verification {
  readonly what: Signed;
  readonly remote: string;
  /** Keys of which one must have signed, or null where no GPG signature is demanded. */
  readonly gpg: GpgKeyring | null;
  /** Types of which one must have a good signature, or null where none is demanded. */
  readonly sign: readonly Verifier[] | null;
}

/** A signature that was looked at when one was found good. */
export interface VerifiedSignature {
  kind: 'gpg' | 'ed25519' | 'dummy';
  /** What `ostree` says of it: one line, several for GPG. All of GPG's are told, also those that are not good. */
  text: string;
}

/** What is demanded instead of what the configuration says. */
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
 * @throws OstreeError `not-found` for an unknown remote, `signature` when keys that are configured cannot be had,
 *   `unsupported` for a signature type that is not known
 */
export async function remoteVerification(
  repo: Repo,
  remote: string | undefined,
  what: Signed,
  overrides: VerificationOverrides = {},
): Promise<Verification | null> {
  if (remote === undefined) {
    if (!overrides.gpg) return null;
    throw new OstreeError('invalid', 'Must specify remote name to enable gpg verification');
  }
  const { keys } = await readRemote(repo, remote);
  const suffix = what === 'summary' ? '-summary' : '';
  const wantsGpg = overrides.gpg ?? truth(keys, `gpg-verify${suffix}`) ?? what === 'commit';
  const gpg = wantsGpg ? await remoteKeyring(repo, remote) : null;
  const sign = overrides.sign === false ? null : await verifiersOf(keys, `sign-verify${suffix}`);
  return gpg || sign ? { what, remote, gpg, sign } : null;
}

/** A string as GLib reads it from a key file. */
function text(keys: ReadonlyMap<string, string>, key: string): string | undefined {
  const value = keys.get(key);
  return value === undefined ? undefined : unescapeKeyFileString(value);
}

/** A boolean as GLib reads it from a key file. */
function truth(keys: ReadonlyMap<string, string>, key: string): boolean | undefined {
  const value = keys.get(key);
  if (value === undefined) return undefined;
  if (value === 'true' || value === '1') return true;
  if (value === 'false' || value === '0') return false;
  throw new OstreeError('invalid', `${key}: neither true nor false: ${value}`);
}

async function verifiersOf(keys: ReadonlyMap<string, string>, key: string): Promise<Verifier[] | null> {
  const value = keys.get(key) ?? '';
  if (value === '' || value === 'false' || value === '0') return null;
  const any = value === 'true' || value === '1';
  const names = any ? SIGNATURE_TYPES : value.split(/[;,]/).map((name) => name.trim());
  const verifiers: Verifier[] = [];
  for (const name of names) {
    if (name !== '') verifiers.push(await verifierOf(keys, name, !any));
  }
  if (verifiers.length > 0) return verifiers;
  throw new OstreeError('invalid', `${key}: no signature type in "${value}"`);
}

/** The keys of one type that a remote's configuration has. */
async function verifierOf(keys: ReadonlyMap<string, string>, name: string, required: boolean): Promise<Verifier> {
  const type = signatureType(name);
  const inline = text(keys, `verification-${name}-key`);
  const file = text(keys, `verification-${name}-file`);
  if (inline === undefined && file === undefined) {
    if (required) throw new OstreeError('signature', `No keys found for required signapi type ${name}`);
    // What the system trusts is looked at only when there is a signature of this type.
    return {
      metadataKey: type.metadataKey,
      kind: type.name,
      verify: async (data, signatures) => (await type.verifier({ folder: null })).verify(data, signatures),
    };
  }
  try {
    return await type.verifier({
      ...(inline !== undefined && { inline: [inline] }),
      ...(file !== undefined && { file }),
    });
  } catch (cause) {
    const from = file === undefined ? 'inline `verification-key`' : `'${file}'`;
    const why = cause instanceof OstreeError ? cause.message : String(cause);
    throw new OstreeError('signature', `Failed loading '${name}' keys from ${from}: ${why}`, { cause });
  }
}

/**
 * Signatures as a remote sends them: the detached metadata of a commit, or `summary.sig`. What cannot be read holds
 * no signatures, so that only who demands some is stopped by it.
 */
export function decodeSignatures(data: Uint8Array): Metadata {
  try {
    return decode('a{sv}', data) as unknown as Metadata;
  } catch (error) {
    if (error instanceof OstreeError && error.code === 'corrupt') return [];
    throw error;
  }
}

/** The signatures of one kind in detached metadata; null where it has none. Of another type than `aay` is none. */
export function signaturesOf(metadata: Metadata | null, key: SignatureKey): readonly Uint8Array[] | null {
  const value = metadata ? metadataValue(metadata, key) : undefined;
  return value?.type === 'aay' ? (value.value as readonly Uint8Array[]) : null;
}

/**
 * Checks signatures of `data`. Where both GPG and another type are demanded, each must have a good one.
 *
 * @param signatures detached metadata: of the commit, or what `summary.sig` holds; null for none
 * @param subject what the data is, for errors: `commit <checksum>` or `summary`
 * @throws OstreeError `signature` in libostree's words
 */
export async function verifySigned(
  verification: Verification,
  data: Uint8Array,
  signatures: Metadata | null,
  subject: string,
): Promise<VerifiedSignature[]> {
  const { gpg, sign } = verification;
  const asked = { ...verification, signatures, subject };
  return [
    ...(gpg ? await verifyByGpg(gpg, data, asked) : []),
    ...(sign ? [await verifyByTypes(sign, data, asked)] : []),
  ];
}

interface Asked {
  what: Signed;
  signatures: Metadata | null;
  subject: string;
}

async function verifyByGpg(keyring: GpgKeyring, data: Uint8Array, asked: Asked): Promise<VerifiedSignature[]> {
  const { what, subject } = asked;
  const refuse = (why: string): OstreeError =>
    new OstreeError('signature', `${what === 'commit' ? `${subject.replace(/^c/, 'C')}: ` : ''}${why}`);
  const signatures = signaturesOf(asked.signatures, 'ostree.gpgsigs');
  if (!signatures) {
    const missing = what === 'summary' && !asked.signatures ? 'summary signatures' : 'signatures';
    const key = what === 'summary' ? 'gpg-verify-summary' : 'gpg-verify';
    throw refuse(`GPG verification enabled, but no ${missing} found (use ${key}=false in remote config to disable)`);
  }
  const found = await keyring.verify(data, signatures);
  if (found.some(({ valid }) => valid)) {
    return found.map((signature) => ({ kind: 'gpg', text: formatGpgSignature(signature).trimEnd() }));
  }
  // The last one is the newest, and most likely the one that was meant to be good.
  const all = found.toReversed().map((signature) => formatGpgSignature(signature));
  throw refuse(all.length === 0 ? 'No GPG signatures found' : all.join('').trimEnd());
}

async function verifyByTypes(
  verifiers: readonly Verifier[],
  data: Uint8Array,
  { what, signatures, subject }: Asked,
): Promise<VerifiedSignature> {
  const refuse = (why: string, cause?: unknown): OstreeError =>
    new OstreeError('signature', `${what === 'commit' ? `Can't verify ${subject}: ` : ''}${why}`, { cause });
  if (!signatures && what === 'commit') throw refuse("Can't verify commit without detached metadata");
  if (!signatures) {
    throw refuse(
      'Signature verification enabled, but no summary signatures found (use sign-verify-summary=false in remote config to disable)',
    );
  }
  const failures: OstreeError[] = [];
  for (const verifier of verifiers) {
    const own = signaturesOf(signatures, verifier.metadataKey);
    if (!own) continue;
    try {
      return { kind: verifier.kind, text: await verifier.verify(data, own) };
    } catch (error) {
      if (!(error instanceof OstreeError)) throw error;
      failures.push(error);
    }
  }
  const [first, ...others] = failures;
  if (!first) throw refuse('No signatures found');
  throw refuse(`${others.length > 0 ? `(${others.length} other invalid signatures): ` : ''}${first.message}`, first);
}
