import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { readRemote } from '../repo/remotes.ts';
import type { Repo } from '../repo/repo.ts';
import { gpgError, runIsolatedGpg, runUserGpg, withGpgHome } from './gpg.ts';
import { remoteKeyringName } from './gpg-keyring.ts';

/** Which keys are imported. */
export interface ImportGpgKeysOptions {
  /** Keys, binary or ASCII-armored; default those of the user's own keyring. */
  source?: Uint8Array;
  /** Only these, by key id or fingerprint; default all. */
  keyIds?: readonly string[];
  signal?: AbortSignal;
}

/**
 * Adds public GPG keys to those that a remote trusts. Known keys are brought up to date.
 *
 * @returns how many were new
 * @throws OstreeError `not-found` for an unknown remote or key, `signature` when there is no key
 */
export async function importGpgKeys(repo: Repo, remote: string, options: ImportGpgKeysOptions = {}): Promise<number> {
  await readRemote(repo, remote);
  const keys = await exportKeys(options);
  const file = join(repo.path, remoteKeyringName(remote));
  const ring = await readFile(file).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return Buffer.alloc(0);
    throw error;
  });
  return withGpgHome(ring, async (home) => {
    const result = await runIsolatedGpg(home, ['--import'], { input: keys, ...signalOf(options) });
    // IMPORT_RES <count> <no_user_id> <imported> … (GnuPG's doc/DETAILS)
    const counts = /^\[GNUPG:\] IMPORT_RES (.*)$/m.exec(result.status)?.[1]?.split(' ');
    if (!counts || result.status.includes('[GNUPG:] IMPORT_PROBLEM'))
      throw gpgError('GPG: Unable to import keys', result);
    await writeFileDurably(file, await readFile(join(home, 'pubring.gpg')));
    return Number(counts[2]);
  });
}

/** The selected public keys of the source, in binary form. */
async function exportKeys(options: ImportGpgKeysOptions): Promise<Buffer> {
  const { source } = options;
  if (!source) return exportFrom((args) => runUserGpg(undefined, args, signalOf(options)), options);
  return withGpgHome(new Uint8Array(), async (home) => {
    const file = join(home, 'source');
    await writeFile(file, source);
    const run = (args: readonly string[]) => runIsolatedGpg(home, args, signalOf(options));
    await run(['--import', '--', file]);
    return exportFrom(run, options);
  });
}

async function exportFrom(
  run: (args: readonly string[]) => ReturnType<typeof runUserGpg>,
  { keyIds = [] }: ImportGpgKeysOptions,
): Promise<Buffer> {
  for (const keyId of keyIds) {
    const { code } = await run(['--with-colons', '--list-keys', '--', keyId]);
    if (code !== 0) throw new OstreeError('not-found', `GPG: Unable to find key "${keyId}"`);
  }
  const result = await run(['--export', '--', ...keyIds]);
  if (result.output.length > 0) return result.output;
  throw new OstreeError('signature', 'GPG: Unable to export keys: No data', {
    hint: 'There was no public key to import.',
  });
}

function signalOf({ signal }: ImportGpgKeysOptions): { signal?: AbortSignal } {
  return signal ? { signal } : {};
}
