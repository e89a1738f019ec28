import { access } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { repositoryHandler } from '@treeline/ostree';
import { Name, RefName } from '../api/schema.ts';
import type { DevicePointerRow, DeviceRow } from '../devices/tables.ts';
import type { LabDevice } from '../lab/lab.ts';
import { GatewayRefusal, sendEmpty } from './exchange.ts';
import type { GatewayDeps } from './gateway.ts';

type Handler = ReturnType<typeof repositoryHandler>;

const REF_PREFIX = '/refs/heads/';
const CONTENT = /^\/(objects|deltas|delta-indexes)\//;

/**
 * `/ostree/*`: the published repository that a device follows, with one difference to the repository's own address:
 * a ref resolves to what *this device* should run. There is no summary here, which would say otherwise. A device that is
 * pointed elsewhere is told where in headers of the answer (`x-treeline-at`, `x-treeline-ref`), if it can make use of it.
 */
export function createContent(deps: GatewayDeps): {
  serve(device: DeviceRow, req: IncomingMessage, res: ServerResponse, path: string): Promise<void>;
} {
  const handlers = new Map<string, Handler>();
  const handlerOf = (repository: string): Handler => {
    const known = handlers.get(repository);
    if (known !== undefined) return known;
    if (!Name.safeParse(repository).success) throw notThere(`repository ${repository}`);
    const handler = repositoryHandler(join(deps.reposDir, repository));
    handlers.set(repository, handler);
    return handler;
  };

  const serveRef = async (device: DeviceRow, res: ServerResponse, encoded: string) => {
    const request = await deps.differences.waiting(device.id);
    // The device's own agent looks at it with each ref that it asks for; others do not know the header.
    if (request !== null) res.setHeader('x-treeline-asks', `difference ${request}`);
    const channel = decoded(encoded);
    if (channel === null || !RefName.safeParse(channel).success) throw notThere('that ref');
    if (device.channel !== null && device.channel !== channel) {
      throw new GatewayRefusal(
        404,
        'other-channel',
        `device "${device.id}" follows ${device.channel}, not ${channel}`,
        'An operator can change the channel that it follows.',
      );
    }
    const pointer = canBePointed(res.req) ? await deps.pointers.offered(device.id) : null;
    if (pointer !== null) return answerRef(res, pointer.commit, pointerHeaders(pointer));
    const commit = await deps.registry.offer(device, channel);
    if (commit === null || !(await holdsCommit(deps.reposDir, device.repository, commit))) {
      throw notThere(`a release for this device on ${channel}`);
    }
    if (device.offered_commit !== commit) await deps.registry.noteOffer(device.id, commit);
    answerRef(res, commit);
  };

  const store = repositoryHandler(deps.storeDir, { private: true });
  /** For the device of a board job: what its job is about, from the store, and nothing else that is there. */
  const serveLab = async (lab: LabDevice, o: { req: IncomingMessage; res: ServerResponse; path: string }) => {
    const { req, res, path } = o;
    if (path.startsWith(REF_PREFIX)) return answerRef(res, lab.target);
    if (path === '/config') return answerText(res, '[core]\nrepo_version=1\nmode=archive-z2\n');
    if (!lab.mayHave(path)) throw notThere(path);
    const before = req.socket.bytesWritten;
    res.once('close', () => lab.count(req.socket.bytesWritten - before));
    await store(req, res, path);
  };

  return {
    async serve(device, req, res, path) {
      if (req.method === 'POST' && path === '/download-urls') {
        req.resume();
        sendEmpty(res);
        return;
      }
      if (req.method !== 'GET' && req.method !== 'HEAD') {
        throw new GatewayRefusal(405, 'method-not-allowed', `${req.method} is not possible here`);
      }
      const lab = await deps.lab.find(device.id);
      if (lab !== null) return serveLab(lab, { req, res, path });
      if (path.startsWith(REF_PREFIX)) return serveRef(device, res, path.slice(REF_PREFIX.length));
      // Everything that names what the repository as a whole has (summary, other refs) stays hidden.
      if (path !== '/config' && !CONTENT.test(path)) throw notThere(path);
      await handlerOf(device.repository)(req, res, path);
    },
  };
}

function answerRef(res: ServerResponse, commit: string, headers: Record<string, string> = {}): void {
  answerText(res, `${commit}\n`, headers);
}

function answerText(res: ServerResponse, body: string, headers: Record<string, string> = {}): void {
  res.writeHead(200, {
    'content-type': 'text/plain',
    'content-length': body.length,
    'cache-control': 'no-store',
    ...headers,
  });
  res.end(res.req.method === 'HEAD' ? undefined : body);
}

/**
 * Whether the client says (`x-treeline-can: point`) that it understands an answer which sends it elsewhere. Another one
 * would look here for a commit that is not here.
 */
function canBePointed(req: IncomingMessage): boolean {
  const can = req.headers['x-treeline-can'];
  return typeof can === 'string' && can.split(',').some((word) => word.trim() === 'point');
}

/** Where the commit of the answer is to be fetched, and what it is called there. */
function pointerHeaders({ url, ref }: DevicePointerRow): Record<string, string> {
  return { 'x-treeline-at': url, ...(ref === null ? {} : { 'x-treeline-ref': ref }) };
}

function notThere(what: string): GatewayRefusal {
  return new GatewayRefusal(404, 'not-found', `there is no ${what} here`);
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** A release that was pruned from the repository must not be offered: the pull would fail half-way. */
async function holdsCommit(reposDir: string, repository: string, commit: string): Promise<boolean> {
  try {
    await access(join(reposDir, repository, 'objects', commit.slice(0, 2), `${commit.slice(2)}.commit`));
    return true;
  } catch {
    return false;
  }
}
