import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { unescapeKeyFileString } from '../formats/keyfile.ts';
import { compareNames } from '../formats/object-name.ts';
import { type RemoteConfig, readRemote } from '../repo/remotes.ts';
import { openRepo, type Repo } from '../repo/repo.ts';
import { gpgError, runIsolatedGpg, withGpgHome } from './gpg.ts';
import { type GpgKey, parseKeyListing } from './gpg-key.ts';
import { type GpgSignature, parseVerifyStatus } from './gpg-signature.ts';
import { type SignaturePacket, signaturePackets } from './openpgp.ts';

/** Keys whose signatures count. */
export interface GpgKeyring {
  /** The keys in it. */
  keys(): Promise<readonly GpgKey[]>;
  /**
   * What there is to say about signatures of `data`, in their order, each as stored in one element of
   * `ostree.gpgsigs`. Elements that are no detached signature are passed over.
   */
  verify(data: Uint8Array, signatures: readonly Uint8Array[], signal?: AbortSignal): Promise<GpgSignature[]>;
}

/** Together; what is signed a hundred times is signed by somebody who wants to keep us busy. */
const MAX_SIGNATURES = 256;
const MAX_SIGNATURE_BYTES = 1024 * 1024;
/** So often gpg is started again behind a bad signature. */
const MAX_ROUNDS = 8;

/**
 * A keyring of what files hold.
 *
 * @param rings binary keyrings, one after the other
 * @param keyFiles further files of keys, also ASCII-armored
 */
export function gpgKeyring(rings: readonly Uint8Array[], keyFiles: readonly string[] = []): GpgKeyring {
  let ring: Promise<Uint8Array> | undefined;
  let keys: Promise<readonly GpgKey[]> | undefined;
  const whole = () => (ring ??= importKeyFiles(Buffer.concat(rings), keyFiles));
  const listed = () => (keys ??= whole().then(listKeys));
  return {
    keys: listed,
    async verify(data, signatures, signal) {
      const packets = signatures.flatMap((signature) => signaturePackets(signature) ?? []);
      const size = packets.reduce((sum, { bytes }) => sum + bytes.length, 0);
      if (packets.length > MAX_SIGNATURES || size > MAX_SIGNATURE_BYTES) {
        throw new OstreeError('signature', `GPG: ${packets.length} signatures (${size} bytes) are too many to check`);
      }
      if (packets.length === 0) return [];
      return verifyPackets(await whole(), await listed(), { data, packets, signal });
    },
  };
}

async function verifyPackets(
  ring: Uint8Array,
  keys: readonly GpgKey[],
  { data, packets, signal }: { data: Uint8Array; packets: readonly SignaturePacket[]; signal: AbortSignal | undefined },
): Promise<GpgSignature[]> {
  return withGpgHome(ring, async (home) => {
    const all: GpgSignature[] = [];
    // gpg stops at the first bad signature, and says nothing of those behind it.
    for (let round = 0; round < MAX_ROUNDS && all.length < packets.length; round++) {
      const file = join(home, `signatures-${round}`);
      await writeFile(file, Buffer.concat(packets.slice(all.length).map(({ bytes }) => bytes)));
      const result = await runIsolatedGpg(home, ['--verify', '--', file, '-'], {
        input: data,
        ...(signal && { signal }),
      });
      const found = parseVerifyStatus(result.status, keys);
      if (result.code === null) throw gpgError('GPG: Unable to complete signature verification', result);
      all.push(...found);
      // One verdict too many, and we would not know what it is about.
      if (all.length > packets.length) throw new OstreeError('signature', 'GPG: more verdicts than signatures');
      if (found.length === 0) break;
    }
    return all;
  });
}

async function importKeyFiles(ring: Buffer, keyFiles: readonly string[]): Promise<Buffer> {
  if (keyFiles.length === 0) return ring;
  return withGpgHome(ring, async (home) => {
    // What is no key in a folder of keys does not matter, and the user's own name for a file can be an option.
    await runIsolatedGpg(home, ['--import', '--', ...keyFiles]);
    return readFile(join(home, 'pubring.gpg'));
  });
}

async function listKeys(ring: Uint8Array): Promise<readonly GpgKey[]> {
  if (ring.length === 0) return [];
  return withGpgHome(ring, async (home) => {
    const result = await runIsolatedGpg(home, [
      '--with-colons',
      '--fixed-list-mode',
      '--with-fingerprint',
      '--with-fingerprint',
      '--list-keys',
    ]);
    if (result.code !== 0) throw gpgError('GPG: Unable to list keys', result);
    return parseKeyListing(result.output.toString('utf8'));
  });
}

/**
 * The keys that a remote trusts: those of its own keyring (`<remote>.trustedkeys.gpg` in the repository, beside the
 * files that configure remotes, or in the parent repository) and of its `gpgkeypath`; without a keyring of its own
 * also those that the whole system trusts.
 *
 * @throws OstreeError `not-found` for an unknown remote or a path in `gpgkeypath` that is not there
 */
export async function remoteKeyring(repo: Repo, remote: string, o: { global?: boolean } = {}): Promise<GpgKeyring> {
  const config = await readRemote(repo, remote);
  const own = await ownKeyring(repo, config);
  const files = await keyPathFiles(unescapeKeyFileString(config.keys.get('gpgkeypath') ?? ''));
  const global = own === null && o.global !== false ? await globalKeyrings() : [];
  return gpgKeyring(own ? [own] : global, files);
}

/** The name of the file with a remote's own keys. */
export function remoteKeyringName(remote: string): string {
  return `${remote}.trustedkeys.gpg`;
}

async function ownKeyring(repo: Repo, remote: RemoteConfig): Promise<Buffer | null> {
  const name = remoteKeyringName(remote.name);
  const found = (await readIfThere(join(repo.path, name))) ?? (await readIfThere(join(dirname(remote.file), name)));
  if (found) return found;
  const parent = repo.config.get('core')?.get('parent');
  return parent ? ownKeyring(await openRepo(parent), remote) : null;
}

/** Keys of all remotes, of the system, and of a GnuPG home folder if one is named: for looking at what is there. */
export async function anyKeyring(repo: Repo, homedir?: string): Promise<GpgKeyring> {
  const homes = homedir === undefined ? [] : await keyringsIn(homedir);
  return gpgKeyring([...(await keyringsIn(repo.path)), ...(await globalKeyrings()), ...homes]);
}

/** The keys that the whole system trusts: of the folder OSTREE_GPG_HOME, or of libostree's. */
export async function globalKeyring(): Promise<GpgKeyring> {
  return gpgKeyring(await globalKeyrings());
}

async function globalKeyrings(): Promise<Buffer[]> {
  const folder = process.env.OSTREE_GPG_HOME ?? '/usr/share/ostree/trusted.gpg.d';
  const found = await stat(folder).catch(() => null);
  return found?.isDirectory() ? keyringsIn(folder) : [];
}

/** The keyrings in a folder: files in `.gpg` that are not of another kind. */
async function keyringsIn(folder: string): Promise<Buffer[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  const rings = names.filter((name) => name.endsWith('.gpg') && name !== 'trustdb.gpg' && name !== 'secring.gpg');
  return Promise.all(rings.toSorted(compareNames).map((name) => readFile(join(folder, name))));
}

/** The files that a `gpgkeypath` names: files, and what is in folders, separated by `;` or by `,`. */
async function keyPathFiles(value: string): Promise<string[]> {
  if (value === '') return [];
  if (value.includes(';') && value.includes(',')) {
    throw new OstreeError('invalid', 'key value list contains more than one separator', {
      hint: `gpgkeypath is separated by ";" or by ",": ${value}`,
    });
  }
  const paths = value.split(/[;,]/);
  if (paths.at(-1) === '') paths.pop();
  const files = await Promise.all(paths.map(keyPathEntry));
  return files.flat();
}

async function keyPathEntry(path: string): Promise<string[]> {
  const found = path === '' ? null : await stat(path).catch(() => null);
  if (!found) throw new OstreeError('not-found', `gpgkeypath(${path}): No such file or directory`);
  if (!found.isDirectory()) return [path];
  const entries = await readdir(path, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ name }) => join(path, name))
    .toSorted(compareNames);
}

async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}
