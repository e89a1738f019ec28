import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { checkout } from '../../../checkout/checkout.ts';
import { CpioReader } from '../../../commit/cpio-entries.ts';
import { writeTar } from '../../../commit/tar.ts';
import { TarReader } from '../../../commit/tar-entries.ts';
import { applyOverlay } from '../../../diff/overlay.ts';
import { tarEnd, tarHeader, tarPadding } from '../../../export/tar-writer.ts';
import { xzCompress } from '../../../fs/lzma.ts';
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

/** `BZh9`: an archive with one empty file `a`, as bzip2 packs it. */
const bzip2 = Buffer.from(
  'QlpoOTFBWSZTWR0WDZ0AACXbgMiAQABFgAAA4AAeAACIIABUQjTTJoZoJEkxoQxmvAdBKfcXJLWSYPEChiNQiJu9U8bOb+ANmVi7kinChIDosGzo',
  'base64',
);

/** An archive of cpio's newc form. */
function cpio(): Buffer {
  let ino = 0;
  const entry = (name: string, mode: number, content: string) => {
    const fields = [++ino, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
    const pad = (text: string) => text.padEnd(Math.ceil(text.length / 4) * 4, '\0');
    return Buffer.from(pad(`${header}${name}\0`) + pad(content), 'latin1');
  };
  return Buffer.concat([
    entry('etc', 0o40755, ''),
    entry('etc/file', 0o100644, 'some content\n'),
    entry('etc/link', 0o120777, 'file'),
    entry('TRAILER!!!', 0, ''),
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
      name: 'cpio-entries',
      cost: 'memory',
      samples: [cpio()],
      async feed(input) {
        const reader = new CpioReader(Readable.from([input]));
        for (let entry = await reader.next(); entry; entry = await reader.next()) {
          for await (const chunk of reader.stream()) if (chunk.length > input.length) throw new RangeError('too much');
        }
      },
    },
    {
      name: 'tar-commit',
      cost: 'disk',
      samples: [plain, gzipSync(plain), zstdCompressSync(plain), xzCompress(plain), bzip2, cpio()],
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
