import { readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { writeCommit } from '../../../commit/write-commit.ts';
import { loosePath } from '../../../formats/object-name.ts';
import { parseCookies } from '../../../http/cookies.ts';
import { ResponseParser } from '../../../http/response-parser.ts';
import { parseMetalink } from '../../../pull/metalink.ts';
import { parseMirrorlist } from '../../../pull/open-source.ts';
import { pull } from '../../../pull/pull.ts';
import { createRepo } from '../../../repo/repo.ts';
import { plainFileHeader, withTransaction } from '../../../repo/transaction.ts';
import { updateSummary } from '../../../summary/update.ts';
import { Random } from '../random.ts';
import { type FuzzScratch, type FuzzTarget, PromiseBroken } from '../target.ts';

const answer = (body: Buffer | string, ...headers: string[]) =>
  Buffer.concat([
    Buffer.from(['HTTP/1.1 200 OK', `Content-Length: ${body.length}`, ...headers, '', ''].join('\r\n')),
    Buffer.from(body),
  ]);

const chunked = Buffer.from(
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "x"\r\n\r\n5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n',
);

const metalink = `<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="summary">
<size>100</size><verification><hash type="sha256">${'a'.repeat(64)}</hash></verification>
<resources><url protocol="http" preference="100">http://127.0.0.1/repo/summary</url></resources>
</file></files></metalink>`;

/** A repository, and a server that answers for one of its paths with whatever it is told to. */
async function repositoryAndServer(inside: string) {
  const repo = { ...(await createRepo(join(inside, 'served'))), fsync: false };
  const { commit, tree, file } = await withTransaction(repo, async (tx) => {
    const stored = await tx.writeFile(plainFileHeader(), Buffer.from('a file over HTTP\n'.repeat(30)));
    const contents = tx.writeDirTree({ files: new Map([['file', stored.checksum]]), dirs: new Map() });
    const made = { contents, meta: tx.emptyTree().meta };
    const commit = await writeCommit(tx, { tree: made, timestamp: 1 });
    tx.setRef('main', commit);
    return { commit, tree: made, file: stored.checksum };
  });
  await updateSummary(repo);
  const lie: { path: string; bytes: Buffer } = { path: '', bytes: Buffer.alloc(0) };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    let text = '';
    socket.on('data', (data) => {
      text += data.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const path = text.slice(0, end).split(' ')[1]!;
        text = text.slice(end + 4);
        if (path === lie.path) {
          socket.end(lie.bytes);
          return;
        }
        try {
          socket.write(answer(readFileSync(join(repo.path, path))));
        } catch {
          socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
        }
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  const paths = {
    config: '/config',
    summary: '/summary',
    ref: '/refs/heads/main',
    commit: `/objects/${loosePath(commit, 'commit')}`,
    dirtree: `/objects/${loosePath(tree.contents, 'dirtree')}`,
    dirmeta: `/objects/${loosePath(tree.meta, 'dirmeta')}`,
    filez: `/objects/${loosePath(file, 'filez')}`,
  };
  return { repo, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, lie, close, paths };
}

export async function makeTargets({ inside }: FuzzScratch): Promise<FuzzTarget[]> {
  const served = await repositoryAndServer(inside);
  const client = join(inside, 'http-client');
  const pulls = Object.entries(served.paths).map(([kind, path]): FuzzTarget => {
    const body = readFileSync(join(served.repo.path, path));
    return {
      name: `http-pull-${kind}`,
      cost: 'network',
      samples: [answer(body), answer(body, 'Connection: close', 'ETag: "x"')],
      async feed(input) {
        rmSync(client, { recursive: true, force: true });
        const repo = { ...(await createRepo(client)), fsync: false };
        served.lie.path = path;
        served.lie.bytes = input;
        await pull(repo, { url: served.url, refs: ['main'], retries: 0, stallSeconds: 2 });
      },
    };
  });
  const last = pulls.at(-1);
  if (last) last.close = served.close;
  return [
    {
      name: 'http-response',
      cost: 'memory',
      samples: [answer('hello', 'Content-Type: text/plain', 'Set-Cookie: a=b'), chunked],
      feed(input) {
        let bytes = 0;
        const parser = new ResponseParser({
          onHead: () => {},
          onBody: (piece) => {
            bytes += piece.length;
          },
          onEnd: () => {},
        });
        parser.begin('GET');
        // As it comes from a network: in pieces of any size.
        const random = new Random(input.toString('latin1'));
        for (let at = 0; at < input.length; ) {
          const length = 1 + random.below(random.below(2) === 0 ? 4 : 200);
          parser.push(input.subarray(at, at + length));
          at += length;
        }
        if (bytes > input.length) throw new PromiseBroken('a body of more bytes than there are');
      },
    },
    {
      name: 'cookies',
      cost: 'memory',
      samples: [
        Buffer.from(
          '# Netscape\n.example.org\tTRUE\t/\tFALSE\t0\tname\tvalue\n#HttpOnly_a\tFALSE\t/x\tTRUE\t17\tn\tv\n',
        ),
      ],
      feed: (input) => void parseCookies(input.toString('utf8')),
    },
    {
      name: 'metalink',
      cost: 'memory',
      samples: [Buffer.from(metalink)],
      feed: (input) => void parseMetalink(input.toString('utf8'), 'summary', 'metalink'),
    },
    {
      name: 'mirrorlist',
      cost: 'memory',
      samples: [Buffer.from('# mirrors\nhttp://127.0.0.1/a/\nhttps://example.org/b\n')],
      feed: (input) => void parseMirrorlist(input.toString('utf8')),
    },
    ...pulls,
  ];
}
