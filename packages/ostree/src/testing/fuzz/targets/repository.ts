import { hash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { writeCommit } from '../../../commit/write-commit.ts';
import { readUpTo } from '../../../diff/content.ts';
import { encodeFilezHeader } from '../../../formats/file.ts';
import { loosePath } from '../../../formats/object-name.ts';
import { readFileObject } from '../../../repo/objects.ts';
import { listRefs, readRef, resolveRev } from '../../../repo/refs.ts';
import { createRepo, openRepo } from '../../../repo/repo.ts';
import { withTransaction } from '../../../repo/transaction.ts';
import type { FuzzScratch, FuzzTarget } from '../target.ts';

/** A repository of which one file at a time is something else. */
export async function makeTargets({ inside }: FuzzScratch): Promise<FuzzTarget[]> {
  const path = join(inside, 'repository');
  const repo = { ...(await createRepo(path)), fsync: false };
  const commit = await withTransaction(repo, async (tx) => {
    const parent = await writeCommit(tx, { tree: tx.emptyTree(), timestamp: 1 });
    const made = await writeCommit(tx, { tree: tx.emptyTree(), timestamp: 2, parent });
    tx.setRef('main', made);
    tx.setRef('origin:main', made);
    return made;
  });
  const header = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: [] };
  const content = Buffer.from('some content\n'.repeat(40));
  const filez = Buffer.concat([encodeFilezHeader(header, content.length), deflateRawSync(content)]);
  const checksum = hash('sha256', filez);
  const object = join(path, 'objects', loosePath(checksum, 'filez'));
  mkdirSync(join(object, '..'), { recursive: true });
  const configured = join(inside, 'configured');
  await createRepo(configured);
  return [
    {
      name: 'ref',
      cost: 'disk',
      samples: [Buffer.from(`${commit}\n`), Buffer.from(commit)],
      async feed(input) {
        writeFileSync(join(path, 'refs/heads/fuzzed'), input);
        await listRefs(repo);
        await readRef(repo, 'fuzzed');
      },
    },
    {
      name: 'revision',
      cost: 'disk',
      samples: [
        Buffer.from('main'),
        Buffer.from('main^'),
        Buffer.from(commit),
        Buffer.from('origin:main'),
        Buffer.from(commit.slice(0, 5)),
      ],
      feed: async (input) => void (await resolveRev(repo, input.toString('utf8'))),
    },
    {
      name: 'config',
      cost: 'disk',
      samples: [
        Buffer.from(
          '[core]\nrepo_version=1\nmode=archive-z2\nfsync=false\nmin-free-space-size=10MB\n[remote "x"]\nurl=file:///x\n',
        ),
      ],
      async feed(input) {
        writeFileSync(join(configured, 'config'), input);
        await openRepo(configured);
      },
    },
    {
      name: 'stored-filez',
      cost: 'disk',
      samples: [filez],
      async feed(input) {
        writeFileSync(object, input);
        const file = await readFileObject(repo, checksum);
        await readUpTo(file.content(), 1_000_000);
      },
    },
  ];
}
