import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { writeFileDurably } from '@treeline/ostree/fs/durable.ts';
import { z } from 'zod';
import { AgentError, systemCode } from '../errors.ts';

const Sysroot = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('virtual-board') }),
  z.object({
    kind: z.literal('ostree-sysroot'),
    /** Absolute path; `/` on a real board. */
    sysroot: z.string(),
    /** Name of the stateroot. */
    os: z.string(),
  }),
]);
export type Sysroot = z.infer<typeof Sysroot>;

const Identity = z.object({
  version: z.literal(1),
  id: z.string(),
  gateway: z.string(),
  channel: z.string(),
  repository: z.string(),
  hardwareId: z.string().nullable(),
  deployer: Sysroot,
});
/** Who a board is, and what it follows. */
export type Identity = z.infer<typeof Identity>;

/**
 * Files of the agent in a board's folder:
 *
 * ```
 * agent/identity.json   written last: the board is enrolled exactly if it is there
 * agent/device.key      made here, never leaves, mode 0600
 * agent/device.crt, ca.crt
 * agent/state.json      see `state/`
 * sysroot/              of a virtual board
 * ```
 */
export interface BoardPaths {
  agent: string;
  identity: string;
  key: string;
  certificate: string;
  ca: string;
  sysroot: string;
}

export function boardPaths(board: string): BoardPaths {
  const agent = join(resolve(board), 'agent');
  return {
    agent,
    identity: join(agent, 'identity.json'),
    key: join(agent, 'device.key'),
    certificate: join(agent, 'device.crt'),
    ca: join(agent, 'ca.crt'),
    sysroot: join(resolve(board), 'sysroot'),
  };
}

/** The board's identity, or null if it has not been enrolled. */
export async function readIdentity(board: string): Promise<Identity | null> {
  const { identity } = boardPaths(board);
  let text: string;
  try {
    text = await readFile(identity, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return null;
    throw error;
  }
  try {
    return Identity.parse(JSON.parse(text));
  } catch (cause) {
    throw new AgentError('invalid', `${identity} cannot be understood`, {
      hint: 'Remove the folder and enrol the board again.',
      cause,
    });
  }
}

/** @throws AgentError `not-enrolled` */
export async function requireIdentity(board: string): Promise<Identity> {
  const identity = await readIdentity(board);
  if (identity !== null) return identity;
  throw new AgentError('not-enrolled', `${resolve(board)} is not an enrolled board`, {
    hint: 'treeline agent enrol --board DIR --gateway URL --token TOKEN --id ID',
  });
}

/** The board's private key: made on first use, so that an enrolment that was cut off goes on with the same key. */
export async function deviceKey(board: string): Promise<KeyObject> {
  const { agent, key } = boardPaths(board);
  const stored = await readFile(key, 'utf8').catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  });
  if (stored !== null) return createPrivateKey(stored);
  await mkdir(agent, { recursive: true, mode: 0o700 });
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  await writeFileDurably(key, pem, { mode: 0o600 });
  return privateKey;
}

/** Follows another channel from now on; durable when it resolves. */
export async function changeChannel(
  board: string,
  o: { identity: Identity; channel: string; repository: string },
): Promise<Identity> {
  const identity = { ...o.identity, channel: o.channel, repository: o.repository };
  await writeIdentity(board, identity);
  return identity;
}

/** Stores what enrolment brought; the identity last. */
export async function storeIdentity(
  board: string,
  o: { identity: Identity; certificate: string; ca: string },
): Promise<void> {
  const paths = boardPaths(board);
  await writeFileDurably(paths.ca, o.ca);
  await writeFileDurably(paths.certificate, o.certificate);
  await writeIdentity(board, o.identity);
}

function writeIdentity(board: string, identity: Identity): Promise<void> {
  return writeFileDurably(boardPaths(board).identity, `${JSON.stringify(identity, null, 1)}\n`);
}
