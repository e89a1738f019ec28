/** Does one thing with the files of a root job, as root-files.ts asks it on stdin; the answer goes to stdout. */
import { text } from 'node:stream/consumers';
import { removeTree } from '../trees/remove.ts';
import type { RootFilesRequest } from './root-files.ts';
import { openJobStore } from './store.ts';
import { storeOutputs } from './store-outputs.ts';

const request = JSON.parse(await text(process.stdin)) as RootFilesRequest;
process.stdout.write(JSON.stringify((await answer(request)) ?? null));

async function answer(asked: RootFilesRequest): Promise<unknown> {
  if (asked.verb === 'remove') return await removeTree(asked.path);
  const store = await openJobStore(asked.store);
  const { idShift } = asked;
  if (asked.verb === 'store') return await storeOutputs(store, asked);
  return await store.checkout(asked.tree, asked.dest, { idShift, signal: new AbortController().signal });
}
