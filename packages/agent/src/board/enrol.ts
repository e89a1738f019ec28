import { resolve } from 'node:path';
import { AgentError } from '../errors.ts';
import { requestCertificate } from '../gateway/enrolment.ts';
import { boardPaths, deviceKey, type Identity, readIdentity, type Sysroot, storeIdentity } from './identity.ts';
import { lockBoard } from './lock.ts';

export interface EnrolOptions {
  /** Folder of the board; made if missing. */
  board: string;
  /** `https://host:port` of the device gateway. */
  gateway: string;
  /** `<secret>.<sha256 hex of the gateway's CA certificate>`. */
  token: string;
  /** 1 to 64 letters, digits, `.`, `_`, `-`. */
  id: string;
  /** What to follow, where the token does not say. */
  channel?: string;
  hardwareId?: string;
  /** Default: a virtual board in `<board>/sysroot`. */
  deployer?: Sysroot;
  signal?: AbortSignal;
}

const DEVICE_ID = /^[A-Za-z0-9._-]{1,64}$/;

/**
 * Makes a board one of the gateway's devices: a key is made here, the token turns it into a certificate. Cut off at any
 * moment, it can be done again with the same token.
 *
 * @throws AgentError `already-enrolled`, `invalid`, `pin-mismatch`, `unreachable`, `enrolment-refused`
 */
export async function enrol(o: EnrolOptions): Promise<Identity> {
  if (!DEVICE_ID.test(o.id)) {
    throw new AgentError('invalid', `"${o.id}" is no device id`, {
      hint: 'Use 1 to 64 letters, digits, ".", "_" or "-".',
    });
  }
  const gateway = checkedUrl(o.gateway);
  const existing = await readIdentity(o.board);
  if (existing !== null) {
    throw new AgentError('already-enrolled', `${resolve(o.board)} is enrolled as "${existing.id}"`, {
      hint: 'Use another folder, or remove this one to begin anew.',
    });
  }
  const key = await deviceKey(o.board);
  const lock = await lockBoard(boardPaths(o.board).agent);
  try {
    const enrolled = await requestCertificate({
      gateway,
      token: o.token,
      id: o.id,
      key,
      hardwareId: o.hardwareId,
      signal: o.signal,
    });
    const channel = enrolled.channel ?? o.channel;
    if (channel === undefined) {
      throw new AgentError('invalid', 'neither the token nor the command says which channel the board follows', {
        hint: 'Give one with --channel, for example robot/edge.',
      });
    }
    const identity: Identity = {
      version: 1,
      id: o.id,
      gateway,
      channel,
      repository: enrolled.repository,
      hardwareId: o.hardwareId ?? null,
      deployer: o.deployer ?? { kind: 'virtual-board' },
    };
    await storeIdentity(o.board, { identity, certificate: enrolled.certificate, ca: enrolled.ca });
    return identity;
  } finally {
    await lock.release();
  }
}

function checkedUrl(text: string): string {
  let url: URL | null = null;
  try {
    url = new URL(text);
  } catch {
    // Said below.
  }
  if (url?.protocol !== 'https:') {
    throw new AgentError('invalid', `"${text}" is no address of a gateway`, {
      hint: 'It begins with https:// and has a port of its own, for example https://127.0.0.1:8421.',
    });
  }
  return url.origin;
}
