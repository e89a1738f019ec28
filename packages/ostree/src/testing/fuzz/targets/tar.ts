import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { checkout } from '../../../checkout/checkout.ts';
import { writeTar } from '../../../commit/tar.ts';
import { TarReader } from '../../../commit/tar-entries.ts';
import { applyOverlay } from '../../../diff/overlay.ts';
import { tarEnd, tarHeader, tarPadding } from '../../../export/tar-writer.ts';
import { createRepo } from '../../../repo/repo.ts';
import { withTransaction } from '../../../repo/transaction.ts';
import type { FuzzScratch, FuzzTarget } from '../target.ts';

const owner = { mode: 0o755, uid: 0, gid: 0 };
const xattrs: [Buffer, Buffer][] = [[Buffer.from('user.note'), Buffer.from([0, 10, 61])]];

function archive(): Buffer {
  const content = Buffer.from('some content\n');
  return Buffer.concat([
    tarHeader({ ...owner, path: './', kind: 'folder', size: 0 }),
    tarHeader({ ...owner, path: 'etc', kind: 'folder', size: 0 }),
    tarHeader({ ...owner, path: 'etc/file', kind: 'file', mode: 0o4755, size: content.length, xattrs }),
    content,
    tarPadding(content.length),
    tarHeader({ ...owner, path: `etc/${'long'.repeat(40)}`, kind: 'file', size: 0, uid: 3_000_000 }),
    tarHeader({ ...owner, path: 'etc/link', kind: 'symlink', size: 0, target: 'file' }),
    tarHeader({ ...owner, path: 'etc/hard', kind: 'link', size: 0, target: 'etc/file' }),
    tarHeader({ ...owner, path: 'etc/.wh.gone', kind: 'file', size: 0 }),
    tarEnd(),
  ]);
}

export async function makeTargets({ inside }: FuzzScratch): Promise<FuzzTarget[]> {
  const plain = archive();
  const repo = { ...(await createRepo(join(inside, 'tar-repo'), { mode: 'bare-user-only' })), fsync: false };
  const out = join(inside, 'tar-out');
  return [
    {
      name: 'tar-entries',
      cost: 'memory',
      samples: [plain],
      async feed(input) {
        const reader = new TarReader(Readable.from([input]));
        let bytes = 0;
        for (let entry = await reader.next(); entry; entry = await reader.next()) {
          for await (const chunk of reader.stream()) bytes += chunk.length;
        }
        if (bytes > input.length) throw new RangeError('more content than there are bytes');
      },
    },
    {
      name: 'tar-commit',
      cost: 'disk',
      samples: [plain, gzipSync(plain), zstdCompressSync(plain)],
      // Committed and checked out: nothing may leave either folder.
      async feed(input) {
        const tree = await withTransaction(repo, (tx) => writeTar(tx, Readable.from([input])));
        rmSync(out, { recursive: true, force: true });
        await checkout(repo, tree, out, { userMode: true });
      },
    },
    {
      name: 'tar-overlay',
      cost: 'disk',
      samples: [plain],
      async feed(input) {
        await withTransaction(repo, async (tx) => {
          const base = await writeTar(tx, Readable.from([plain]));
          await applyOverlay(tx, base, Readable.from([input]));
        });
      },
    },
  ];
}
