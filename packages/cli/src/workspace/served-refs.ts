import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Checksum, Repo } from '@treeline/ostree';

export interface ServedOptions {
  /** The refs to serve; null: every ref that begins with `dev/`, as they come and go. */
  refs: readonly string[] | null;
  /** Whether an address may ask. */
  allows(address: string): boolean;
  /** Told the first time that an address asks, and whether it was let in. */
  onPeer?: (address: string, allowed: boolean) => void;
}

const OBJECT = /^\/objects\/([0-9a-f]{2})\/([0-9a-f]{62})\.(filez|dirtree|dirmeta|commitmeta|commit)$/;
const REF = '/refs/heads/';

/**
 * Serves some refs of a repository to OSTree clients, and of its objects only those that these refs need: a developer's
 * repository also has what he checked out elsewhere, and knowing a checksum is to grant nothing. A ref that moves while
 * this serves is served as it is then; what it was before stays, for whoever is in the middle of fetching it.
 */
export async function servedRefs(
  repo: Repo,
  o: ServedOptions,
): Promise<(req: IncomingMessage, res: ServerResponse) => void> {
  const { listRefs, reachable, readCommit, readRef, repositoryHandler } = await import('@treeline/ostree');
  const handle = repositoryHandler(repo.path, { private: true });
  const known = new Set<string>();
  const commits = new Set<Checksum>();
  const peers = new Map<string, boolean>();

  const heads = async (): Promise<Map<string, Checksum>> => {
    if (o.refs === null) return new Map([...(await listRefs(repo))].filter(([ref]) => ref.startsWith('dev/')));
    const found = new Map<string, Checksum>();
    for (const ref of o.refs) {
      const commit = await readRef(repo, ref);
      if (commit) found.set(ref, commit);
    }
    return found;
  };

  /** Learns what refs need now; costs nothing while none has moved. */
  const learn = async (): Promise<Map<string, Checksum>> => {
    const refs = await heads();
    for (const commit of refs.values()) {
      if (commits.has(commit)) continue;
      for (const name of reachable(repo, (await readCommit(repo, commit)).tree)) known.add(name);
      known.add(`${commit}.commit`);
      commits.add(commit);
    }
    return refs;
  };

  const isServed = async (path: string): Promise<boolean> => {
    if (path === '/config') return true;
    if (path.startsWith(REF)) return (await learn()).has(decoded(path.slice(REF.length)));
    const match = OBJECT.exec(path);
    if (!match) return false;
    const type = match[3] === 'filez' ? 'file' : match[3] === 'commitmeta' ? 'commit' : match[3];
    const name = `${match[1]}${match[2]}.${type}`;
    if (known.has(name)) return true;
    await learn();
    return known.has(name);
  };

  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const address = plainAddress(req.socket.remoteAddress ?? '');
    const allowed = o.allows(address);
    if (peers.get(address) === undefined) {
      peers.set(address, allowed);
      o.onPeer?.(address, allowed);
    }
    if (!allowed) return refuse(res, 403, `This is not served to ${address}. Whoever serves it can allow it: --allow.`);
    const path = (req.url ?? '/').split('?', 1)[0]!;
    const isReading = req.method === 'GET' || req.method === 'HEAD';
    if (isReading && !(await isServed(path))) return refuse(res, 404, 'There is no such file here.');
    await handle(req, res, path);
  };
  await learn();
  return (req, res) => {
    answer(req, res).catch(() => res.destroy());
  };
}

/** An address of IPv4 as such, also where the socket speaks both. */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

function refuse(res: ServerResponse, status: number, text: string): void {
  const body = `${text}\n`;
  res.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    // A body that nobody reads must not be taken for the next request.
    connection: 'close',
  });
  res.end(res.req.method === 'HEAD' ? undefined : body);
}
