import { readDetachedMetadata, readMetadata } from '@treeline/ostree/repo/objects.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { type GpgKey, type GpgSubkey, webKeyDirectoryUrls } from '@treeline/ostree/sign/gpg-key.ts';
import { anyKeyring, remoteKeyring } from '@treeline/ostree/sign/gpg-keyring.ts';
import { formatGpgSignature, formatLocalTime, type GpgSignature } from '@treeline/ostree/sign/gpg-signature.ts';
import { signaturesOf } from '@treeline/ostree/sign/remote-verification.ts';

export interface SignatureTrust {
  /** Judge with the keys of this remote; otherwise with all that there are. */
  remote: string | undefined;
  /** A folder with further keyrings. */
  homedir: string | undefined;
}

/** The part of `ostree show` about GPG signatures; empty when a commit has none. */
export async function formatCommitSignatures(repo: Repo, commit: string, trust: SignatureTrust): Promise<string> {
  const signatures = signaturesOf(await readDetachedMetadata(repo, commit), 'ostree.gpgsigs');
  if (!signatures) return '';
  const { remote, homedir } = trust;
  const keyring = remote === undefined ? await anyKeyring(repo, homedir) : await remoteKeyring(repo, remote);
  return formatSignatures(await keyring.verify(await readMetadata(repo, 'commit', commit), signatures));
}

/** Signatures as `ostree show` lists them. */
function formatSignatures(signatures: readonly GpgSignature[]): string {
  return `Found ${countAndList(signatures)}`;
}

/** Signatures as `ostree remote summary` lists them when they were demanded. */
export function formatGpgVerification(signatures: readonly GpgSignature[]): string {
  return `GPG: Verification enabled, found ${countAndList(signatures)}`;
}

function countAndList(signatures: readonly GpgSignature[]): string {
  const count = signatures.length;
  const blocks = signatures.map((signature) => `\n${formatGpgSignature(signature, '  ')}`);
  return `${count} signature${count === 1 ? '' : 's'}:\n${blocks.join('')}`;
}

/** A key as `ostree remote gpg-list-keys` prints it. */
export function formatGpgKey({ subkeys, users }: GpgKey): string {
  const [primary, ...others] = subkeys;
  const lines = formatSubkey(primary!, 'Key', '  ');
  for (const { id, email, revoked, invalid } of users) {
    const urls = webKeyDirectoryUrls(email);
    lines.push(
      `  UID: ${id}${revoked ? ' (revoked)' : ''}${invalid ? ' (invalid)' : ''}`,
      `  Advanced update URL: ${urls?.advanced ?? ''}`,
      `  Direct update URL: ${urls?.direct ?? ''}`,
    );
  }
  for (const subkey of others) lines.push(...formatSubkey(subkey, '  Subkey', '    '));
  return lines.map((line) => `${line}\n`).join('');
}

function formatSubkey(key: GpgSubkey, label: string, indent: string): string[] {
  return [
    `${label}: ${key.fingerprint}${key.revoked ? ' (revoked)' : ''}${key.invalid ? ' (invalid)' : ''}`,
    `${indent}Created: ${formatLocalTime(key.created)}`,
    ...(key.expires > 0 ? [`${indent}${key.expired ? 'Expired' : 'Expires'}: ${formatLocalTime(key.expires)}`] : []),
  ];
}
