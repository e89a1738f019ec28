import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { IdShift } from '@treeline/ostree';
import { RunnerError } from '../errors.ts';
import type { Tree } from '../protocol.ts';
import { asOwnerOfAll } from '../sandbox/root-entry.ts';
import type { RootIds } from '../sandbox/root-ids.ts';
import { removeTree } from '../trees/remove.ts';
import type { JobStore } from './store.ts';
import { type StoredOutputs, storeOutputs } from './store-outputs.ts';

/** What a runner does with the files of root jobs, which belong to ids of their own. */
export interface RootFiles {
  /** Writes a tree into `dest` with the owners that it says. */
  checkout(tree: Tree, dest: string, signal: AbortSignal): Promise<void>;
  storeOutputs(o: { out: string; outputs: ReadonlyArray<{ name: string; path: string }> }): Promise<StoredOutputs>;
  remove(path: string): Promise<void>;
}

/** What is asked of the process that does it for a runner that is not root. */
export type RootFilesRequest = { store: string; idShift: IdShift } & (
  | { verb: 'checkout'; tree: Tree; dest: string }
  | { verb: 'store'; out: string; outputs: ReadonlyArray<{ name: string; path: string }> }
  | { verb: 'remove'; path: string }
);

/**
 * A runner that is root does it itself. Any other does it in a process of a user namespace in which the runner's user is
 * root: what that process writes to the store belongs to the runner.
 */
export function openRootFiles(ids: RootIds, store: JobStore): RootFiles {
  const idShift = ids.outer;
  if (ids.runnerIsRoot) {
    return {
      checkout: (tree, dest, signal) => store.checkout(tree, dest, { idShift, signal }),
      storeOutputs: (o) => storeOutputs(store, { ...o, idShift }),
      remove: removeTree,
    };
  }
  const ask = (request: RootFilesRequest, signal?: AbortSignal) => inProcess(ids, request, signal);
  return {
    checkout: async (tree, dest, signal) => {
      await ask({ verb: 'checkout', store: store.path, idShift, tree, dest }, signal);
    },
    storeOutputs: async (o) => (await ask({ verb: 'store', store: store.path, idShift, ...o })) as StoredOutputs,
    remove: async (path) => {
      await ask({ verb: 'remove', store: store.path, idShift, path });
    },
  };
}

const PROGRAM = fileURLToPath(new URL('./root-files-program.ts', import.meta.url));

async function inProcess(ids: RootIds, request: RootFilesRequest, signal?: AbortSignal): Promise<unknown> {
  const [program = '', ...args] = asOwnerOfAll(ids, [process.execPath, PROGRAM]);
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], ...(signal ? { signal } : {}) });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  // A process that ends early breaks the pipe; its exit says so better.
  child.stdin.on('error', () => {});
  child.stdin.end(JSON.stringify(request));
  const [status, answer, complaint] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  if (status === 0) return JSON.parse(answer) as unknown;
  throw new RunnerError(
    'checkout-failed',
    `the files of a root job cannot be handled: ${complaint.trim().slice(-500)}`,
  );
}
