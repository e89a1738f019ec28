import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import type { Metadata } from '../formats/commit.ts';
import type { Checksum } from '../formats/object-name.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { encode } from '../gvariant/encode.ts';
import { SUMMARY_LOCK, takeTurn } from '../repo/lock.ts';
import { objectPath, readDetachedMetadata, readMetadata } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { signaturePackets } from './openpgp.ts';
import { decodeSignatures, signaturesOf } from './remote-verification.ts';
import type { SignatureKey, Signer } from './signer.ts';

/** How something is signed. */
export interface SignOptions {
  signal?: AbortSignal;
}

/**
 * Detached metadata with signatures of `data` added to what there was.
 *
 * @throws OstreeError `signature` when a signer cannot, `exists` when `existing` has a signature by this GPG key
 */
export async function addSignatures(
  data: Uint8Array,
  existing: Metadata,
  signers: readonly Signer[],
  options: SignOptions = {},
): Promise<Metadata> {
  let metadata = existing;
  for (const signer of signers) {
    const before = signaturesOf(metadata, signer.metadataKey) ?? [];
    await assertNotSigned(before, signer, options);
    const signature = await signer.sign(data, options.signal);
    metadata = withSignatures(metadata, signer.metadataKey, [...before, signature]);
  }
  return metadata;
}

/** Metadata with these signatures of one kind instead of those that it has; without the key when there are none. */
function withSignatures(metadata: Metadata, key: SignatureKey, signatures: readonly Uint8Array[]): Metadata {
  const others = metadata.filter(([name]) => name !== key);
  return signatures.length === 0 ? others : [...others, [key, { type: 'aay', value: signatures }]];
}

async function assertNotSigned(
  signatures: readonly Uint8Array[],
  { key }: Signer,
  { signal }: SignOptions,
): Promise<void> {
  if (!key || signatures.length === 0) return;
  const issuers = await key.issuers(signal);
  const signed = signatures.some((signature) => issuers.some((issuer) => isIssuedBy(signature, issuer)));
  if (signed) throw new OstreeError('exists', `Commit is already signed with GPG key ${key.name}`);
}

/** Whether a signature says that it is by a key of this id or fingerprint. */
export function isIssuedBy(signature: Uint8Array, key: string): boolean {
  const issuers = (signaturePackets(signature) ?? []).flatMap((packet) => packet.issuers);
  return issuers.some((issuer) => issuer.endsWith(key) || key.endsWith(issuer));
}

/**
 * Adds signatures of a commit to its detached metadata.
 *
 * @throws OstreeError `not-found` without the commit, `exists` when this GPG key has signed it already, `signature`
 *   when a signer cannot
 */
export async function signCommit(
  repo: Repo,
  commit: Checksum,
  signers: readonly Signer[],
  options: SignOptions = {},
): Promise<void> {
  const data = await readMetadata(repo, 'commit', commit);
  await changeMetadata(repo, commit, options, (before) => addSignatures(data, before ?? [], signers, options));
}

/** More than anybody signs: what is merged may not grow without end. */
const MAX_MERGED_BYTES = 4 * 1024 * 1024;

/**
 * Adds to the detached metadata of a commit what a copy of it has elsewhere. Signatures of both stay. Of other keys
 * that both have, `replace` says whose value counts; by default that of here.
 *
 * @returns whether that changed anything
 * @throws OstreeError `invalid` when that gets too large
 */
export async function mergeDetachedMetadata(
  repo: Repo,
  commit: Checksum,
  other: Metadata,
  options: { replace?: boolean; signal?: AbortSignal } = {},
): Promise<boolean> {
  const { replace = false } = options;
  let changed = false;
  await changeMetadata(repo, commit, options, async (before) => {
    const merged = new Map(before ?? []);
    for (const [key, value] of other) {
      const here = merged.get(key);
      if (value.type === 'aay' && here?.type === 'aay' && /^ostree\.(gpgsigs$|sign\.)/.test(key)) {
        const signatures = [...(here.value as Uint8Array[]), ...(value.value as Uint8Array[])];
        const unique = new Map(signatures.map((one) => [Buffer.from(one).toString('latin1'), one]));
        merged.set(key, { type: 'aay', value: [...unique.values()] });
      } else if (!here || replace) merged.set(key, value);
    }
    const after: Metadata = [...merged];
    const bytes = encode('a{sv}', after);
    if (before && Buffer.compare(bytes, encode('a{sv}', before)) === 0) return null;
    if (bytes.length > MAX_MERGED_BYTES) {
      throw new OstreeError('invalid', `${commit}.commitmeta: ${bytes.length} bytes of detached metadata are too many`);
    }
    changed = true;
    return after;
  });
  return changed;
}

/**
 * Makes a commit signed by each of these: who has signed it already does not again. So it may be done twice, with the
 * same outcome, also where a signer cannot say who it is.
 *
 * @returns for each signer whether it signed just now
 * @throws OstreeError `not-found` without the commit, `signature` when a signer cannot
 */
export async function addMissingSignatures(
  repo: Repo,
  commit: Checksum,
  signers: readonly Signer[],
  options: SignOptions = {},
): Promise<boolean[]> {
  const data = await readMetadata(repo, 'commit', commit);
  const added: boolean[] = [];
  await changeMetadata(repo, commit, options, async (found) => {
    const before = found ?? [];
    let metadata = before;
    for (const signer of signers) {
      const there = signaturesOf(metadata, signer.metadataKey) ?? [];
      const signature = await missingSignature(data, there, signer, options);
      added.push(signature !== null);
      if (signature) metadata = withSignatures(metadata, signer.metadataKey, [...there, signature]);
    }
    return metadata === before ? null : metadata;
  });
  return added;
}

/** A signature that is not there yet; null when there is one by this signer. */
async function missingSignature(
  data: Uint8Array,
  there: readonly Uint8Array[],
  signer: Signer,
  { signal }: SignOptions,
): Promise<Uint8Array | null> {
  if (signer.key && there.length > 0) {
    const issuers = await signer.key.issuers(signal);
    if (there.some((one) => issuers.some((issuer) => isIssuedBy(one, issuer)))) return null;
  }
  const signature = await signer.sign(data, signal);
  // ed25519 signs the same bytes in the same way; an OpenPGP signature has a time, but says whose it is.
  if (there.some((one) => Buffer.compare(one, signature) === 0)) return null;
  const by = (signaturePackets(signature) ?? []).flatMap((packet) => packet.issuers);
  return there.some((one) => by.some((issuer) => isIssuedBy(one, issuer))) ? null : signature;
}

/** Who reads detached metadata and then writes it must be alone: a signature added meanwhile would be lost. */
async function changeMetadata(
  repo: Repo,
  commit: Checksum,
  { signal }: SignOptions,
  change: (before: Metadata | null) => Promise<Metadata | null>,
): Promise<void> {
  const done = await takeTurn(repo, 'treeline-sign.lock', signal);
  try {
    const after = await change(await readDetachedMetadata(repo, commit));
    if (after) await writeDetachedMetadata(repo, commit, after);
  } finally {
    done();
  }
}

/** Replaces the detached metadata of a commit. Without any an empty file stays, which pulls take over. */
async function writeDetachedMetadata(repo: Repo, commit: Checksum, metadata: Metadata): Promise<void> {
  await writeFileDurably(objectPath(repo, 'commitmeta', commit), encode('a{sv}', metadata));
}

/**
 * Takes signatures out of a commit's detached metadata.
 *
 * @returns how many
 */
export async function deleteSignatures(
  repo: Repo,
  commit: Checksum,
  key: SignatureKey,
  matches: (signature: Uint8Array) => boolean,
): Promise<number> {
  let deleted = 0;
  await changeMetadata(repo, commit, {}, async (metadata) => {
    const signatures = signaturesOf(metadata, key) ?? [];
    const kept = signatures.filter((signature) => !matches(signature));
    deleted = signatures.length - kept.length;
    return deleted > 0 ? withSignatures(metadata!, key, kept) : null;
  });
  return deleted;
}

/**
 * Adds signatures of the repository's summary, as it is on disk, to `summary.sig`.
 *
 * @throws OstreeError `not-found` without a summary, `signature` when a signer cannot
 */
export async function signSummary(repo: Repo, signers: readonly Signer[], options: SignOptions = {}): Promise<void> {
  const done = await takeTurn(repo, SUMMARY_LOCK, options.signal);
  try {
    const summary = await readIfThere(join(repo.path, 'summary'));
    if (!summary) {
      throw new OstreeError('not-found', `${repo.path}: no summary`, { hint: 'Make one: treeline repo summary -u' });
    }
    const file = join(repo.path, 'summary.sig');
    const before = await readIfThere(file);
    const metadata = await addSignatures(summary, before ? decodeSignatures(before) : [], signers, options);
    await writeFileDurably(file, encode('a{sv}', metadata));
  } finally {
    done();
  }
}

async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}
