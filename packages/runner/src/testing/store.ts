import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createRepo, withTransaction, writeFolder } from '@treeline/ostree';
import type { Tree } from '../protocol.ts';

/** Makes a store in `parent` and returns its path, and a function that stores files as a tree. */
export async function testStore(
  parent: string,
): Promise<{ path: string; put: (files: Record<string, string>) => Promise<Tree> }> {
  const path = join(parent, 'store');
  const repo = await createRepo(path);
  return {
    path,
    put: async (files) => {
      const folder = await mkdtemp(join(parent, 'tree-'));
      for (const [name, text] of Object.entries(files)) {
        await mkdir(dirname(join(folder, name)), { recursive: true });
        await writeFile(join(folder, name), text);
      }
      return await withTransaction(repo, (tx) => writeFolder(tx, folder, { owner: { uid: 0, gid: 0 } }));
    },
  };
}
