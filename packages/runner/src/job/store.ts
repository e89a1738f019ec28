import type { Repo } from '@treeline/ostree';
import { checkout, openRepo, withTransaction, writeFolder } from '@treeline/ostree';
import type { Tree } from '../protocol.ts';
import type { JobStore } from './job.ts';

/** Opens the store, an OSTree repository in a folder of this machine. Throws OstreeError when it is none. */
export async function openJobStore(path: string): Promise<JobStore> {
  const repo: Repo = await openRepo(path);
  return {
    checkout: async (tree, dest, signal) => {
      // User mode: the files belong to the runner, whatever their owners in the tree; it need not be root. Copies, never
      // links to objects: a job writes to its source.
      await checkout(repo, tree, dest, { userMode: true, hardLink: false, signal });
    },
    write: async (folders) =>
      await withTransaction(repo, async (tx) => {
        const outputs: Record<string, Tree> = {};
        for (const [name, folder] of folders) {
          // Extended attributes are this machine's (security labels), and a job's folder is never seen twice.
          outputs[name] = await writeFolder(tx, folder, {
            owner: { uid: 0, gid: 0 },
            xattrs: false,
            statCache: false,
          });
        }
        return outputs;
      }),
  };
}
