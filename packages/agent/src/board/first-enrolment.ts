import { readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder, writeFileDurably } from '@treeline/ostree/fs/durable.ts';
import { z } from 'zod';
import { AgentError, messageOf, systemCode } from '../errors.ts';
import { enrol } from './enrol.ts';
import { type Identity, readIdentity, type Sysroot } from './identity.ts';

/** What an image brings along, so that a board makes itself a device of a server when it first boots. */
const FirstEnrolment = z.object({
  gateway: z.string(),
  token: z.string().nullish(),
  /** Null: made of what tells this machine apart from others. */
  id: z.string().nullish(),
  channel: z.string().nullish(),
  hardwareId: z.string().nullish(),
  /** Name of the stateroot. */
  os: z.string().default('treeline'),
});

const FILE = 'enrol.json';

/**
 * Enrols a board by the file that its image brought (`enrol.json` in the board's folder), unless it has an identity.
 * Once it has, the token is taken out of the file: it is of no more use here, and may let others in.
 *
 * @returns the identity, or null when there is neither one nor a file
 * @throws AgentError as `enrol` does; `invalid` when the file makes no sense
 */
export async function enrolAtFirst(
  board: string,
  o: { deployer?: Sysroot; signal?: AbortSignal } = {},
): Promise<Identity | null> {
  const path = join(board, FILE);
  const identity = await readIdentity(board);
  const file = await readEnrolment(path);
  if (identity !== null) {
    if (file?.token) await forgetToken(path, file);
    return identity;
  }
  if (file === null) return null;
  if (!file.token) {
    throw new AgentError('not-enrolled', `${path} has no token any more, and this board has no identity`, {
      hint: 'Put a new token there, or run: treeline-agent enrol --gateway URL --token TOKEN',
    });
  }
  const made = await enrol({
    board,
    gateway: file.gateway,
    token: file.token,
    id: file.id ?? (await ownName()),
    deployer: o.deployer ?? { kind: 'ostree-sysroot', sysroot: '/', os: file.os },
    ...(file.channel ? { channel: file.channel } : {}),
    ...(file.hardwareId ? { hardwareId: file.hardwareId } : {}),
    ...(o.signal === undefined ? {} : { signal: o.signal }),
  });
  await forgetToken(path, file);
  return made;
}

async function readEnrolment(path: string): Promise<z.infer<typeof FirstEnrolment> | null> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return null;
    throw error;
  }
  try {
    return FirstEnrolment.parse(JSON.parse(text));
  } catch (cause) {
    throw new AgentError('invalid', `${path} cannot be understood: ${messageOf(cause)}`, { cause });
  }
}

/** Written anew without the token; where even that fails, without the file. */
async function forgetToken(path: string, file: z.infer<typeof FirstEnrolment>): Promise<void> {
  const { token: _, ...rest } = file;
  try {
    await writeFileDurably(path, `${JSON.stringify(rest, null, 1)}\n`, { mode: 0o600 });
  } catch {
    await unlink(path).catch(() => {});
    await syncFolder(join(path, '..')).catch(() => {});
  }
}

/** Where kernels say which machine this is: the board's serial number, else systemd's id of the installation. */
const SERIALS = ['/sys/firmware/devicetree/base/serial-number', '/sys/class/dmi/id/product_serial', '/etc/machine-id'];

async function ownName(): Promise<string> {
  for (const path of SERIALS) {
    const text = await readFile(path, 'latin1').catch(() => '');
    const serial = text.replace(/[^A-Za-z0-9._-]/g, '');
    // Firmware that nobody filled in says "Default string", "0", or "None".
    if (serial.length >= 6 && !/^(0+|none|default|tobefilled|notspecified|unknown|uninitialized)/i.test(serial)) {
      return `board-${serial}`.slice(0, 64);
    }
  }
  throw new AgentError('invalid', 'this machine has nothing that tells it apart from others', {
    hint: 'Say its id in enrol.json, or with: treeline-agent enrol --id ID',
  });
}
