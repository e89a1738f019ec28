import type { IdShift, Repo } from '@treeline/ostree';
import { checkout, openRepo, withTransaction, writeFolder } from '@treeline/ostree';
import type { Tree } from '../protocol.ts';

/** The store, as far as a runner needs it. With `idShift`, files are a root job's and have owners of their own. */
export interface JobStore {
  readonly path: string;
  /** Writes a tree into `dest`, which does not exist yet. */
  checkout(tree: Tree, dest: string, o: { idShift?: IdShift; signal: AbortSignal }): Promise<void>;
  /** Stores folders, all or none; everything belongs to 0:0 unless there is `idShift`. */
  write(folders: Map<string, string>, o?: { idShift?: IdShift | undefined }): Promise<Record<string, Tree>>;
}

/** Opens the store, an OSTree repository in a folder of this machine. Throws OstreeError when it is none. */
export async function openJobStore(path: string): Promise<JobStore> {
  const repo: Repo = await openRepo(path);
  return {
    path,
    checkout: async (tree, dest, { idShift, signal }) => {
      // User mode: the files belong to the runner, whatever their owners in the tree; it need not be root. Copies, never
      // links to objects: a job writes to its source.
      const owners = idShift ? { userMode: false, idShift } : { userMode: true };
      await checkout(repo, tree, dest, { ...owners, hardLink: false, signal });
    },
    write: async (folders, { idShift } = {}) =>
      await withTransaction(repo, async (tx) => {
        const outputs: Record<string, Tree> = {};
        // Extended attributes are this machine's (security labels), but for those that a root job gives.
        const owners = idShift ? { idShift } : { owner: { uid: 0, gid: 0 }, xattrs: false };
        // A job's folder is never seen twice.
        for (const [name, folder] of folders) {
          outputs[name] = await writeFolder(tx, folder, { ...owners, statCache: false });
        }
        return outputs;
      }),
  };
}
