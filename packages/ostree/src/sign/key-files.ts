import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { compareNames } from '../formats/object-name.ts';
import { ED25519_KEY_BYTES, type Ed25519Keys, parseEd25519PublicKey } from './ed25519.ts';

/** Where libostree looks for keys that the whole system trusts. */
const SYSTEM_FOLDERS = ['/etc/ostree', '/usr/share/ostree'];

/** Lines of a key file that are not empty. Throws `signature` when it is no regular file. */
export async function readKeyLines(path: string): Promise<string[]> {
  const found = await stat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return null;
    throw error;
  });
  if (!found?.isFile()) throw new OstreeError('signature', `File object '${path}' is not a regular file`);
  const lines = (await readFile(path, 'latin1')).split('\n');
  return lines.map((line) => line.trim()).filter((line) => line !== '');
}

/**
 * Public keys of a file with one in base64 on each line. A line that is none is passed over, as by libostree.
 *
 * @throws OstreeError `signature` when there is no key in it
 */
export async function readPublicKeyFile(path: string): Promise<Buffer[]> {
  const keys = (await readKeyLines(path)).flatMap((line) => {
    try {
      return [parseEd25519PublicKey(line)];
    } catch {
      return [];
    }
  });
  if (keys.length > 0) return keys;
  throw new OstreeError('signature', `signature: ed25519: no valid keys in file '${path}'`, {
    hint: 'A key file has one public key in base64 on each line.',
  });
}

/**
 * Keys of folders laid out as libostree's: `trusted.ed25519` and the files in `trusted.ed25519.d`, and the same with
 * `revoked`. A trusted file that cannot be read gives no keys; a revoked one that cannot be read is an error, for a
 * key must not come to life again by that.
 *
 * @param folder default `/etc/ostree` and `/usr/share/ostree`
 * @throws OstreeError `signature` when no key is trusted, or what is revoked cannot be told
 */
export async function readKeyFolder(folder?: string): Promise<Ed25519Keys> {
  const folders = folder === undefined ? SYSTEM_FOLDERS : [folder];
  const trusted: Buffer[] = [];
  const revoked: Buffer[] = [];
  for (const base of folders) {
    for (const file of await filesOf(join(base, 'trusted.ed25519'))) {
      trusted.push(...(await readPublicKeyFile(file).catch(() => [])));
    }
    for (const file of await filesOf(join(base, 'revoked.ed25519'))) revoked.push(...(await readRevokedFile(file)));
  }
  if (trusted.length > 0) return { trusted, revoked };
  throw new OstreeError('signature', 'signature: ed25519: no keys loaded', {
    hint: `Put public keys into ${folders.map((base) => join(base, 'trusted.ed25519')).join(' or ')}.`,
  });
}

async function readRevokedFile(path: string): Promise<Buffer[]> {
  const keys = (await readKeyLines(path)).map((line) => Buffer.from(line, 'base64'));
  const bad = keys.find((key) => key.length !== ED25519_KEY_BYTES);
  if (!bad) return keys;
  throw new OstreeError('signature', `${path}: a line of ${bad.length} bytes is no ed25519 key: what is revoked?`);
}

/** The file of this name and those of the folder of this name and `.d`, as far as they are there. */
async function filesOf(path: string): Promise<string[]> {
  const names = await readdir(`${path}.d`).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
    throw error;
  });
  const files: string[] = [];
  for (const file of [path, ...names.toSorted(compareNames).map((name) => join(`${path}.d`, name))]) {
    const found = await stat(file).catch(() => null);
    if (found?.isFile()) files.push(file);
  }
  return files;
}
