import { generateKeyPairSync } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '@treeline/ostree';
import type { Actor } from '../access/audit.ts';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';

/**
 * Makes an ed25519 key in the folder of the keys, with mode 0600. The secret key goes nowhere else.
 *
 * @returns its public key in base64, as clients are told it
 * @throws ServerError `conflict` when there is something of this name: a key is never replaced, for clients trust it
 */
export async function makeKey(
  core: Pick<Core, 'folder' | 'audit'>,
  name: string,
  by: Actor,
): Promise<{ name: string; publicKey: string }> {
  const path = join(core.folder.keys, name);
  try {
    await (await open(path, 'wx', 0o600)).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new ServerError('conflict', `there is a key "${name}" already`, { hint: 'Choose another name.' });
  }
  const { privateKey } = generateKeyPairSync('ed25519');
  const { d = '', x = '' } = privateKey.export({ format: 'jwk' });
  const secret = Buffer.concat([Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')]);
  const publicKey = Buffer.from(x, 'base64url').toString('base64');
  await writeFileDurably(path, `${secret.toString('base64')}\n`, { mode: 0o600 });
  await core.audit.record({ caller: by, action: 'signing-key.make', subject: name, data: { publicKey } });
  return { name, publicKey };
}
