import { parentPort, workerData } from 'node:worker_threads';
import { feed, inputOf, shares, strayFiles } from './run.ts';
import { type FuzzScratch, loadTargets } from './target.ts';

/** What a worker is told; `progress` is shared: [target, input] that it is at, so that a hang can be told. */
export interface WorkerOrder {
  seed: string;
  mutations: number;
  only: string[];
  scratch: FuzzScratch;
  progress: SharedArrayBuffer;
}

/** What a worker reports. */
export type WorkerMessage =
  | { kind: 'fault'; target: string; input: Uint8Array; what: string }
  | { kind: 'target'; target: string; inputs: number; accepted: number; seconds: number; slowest: number }
  | { kind: 'end' };

const { seed, mutations, only, scratch, progress } = workerData as WorkerOrder;
const at = new Int32Array(progress);
const say = (message: WorkerMessage) => parentPort!.postMessage(message);
/** After so many a target is left alone: they are mostly the same one. */
const FAULTS_EACH = 20;

const targets = await loadTargets(scratch, only);
for (const [index, [target, share]] of [...shares(targets, mutations)].entries()) {
  Atomics.store(at, 0, index);
  const began = performance.now();
  let [accepted, slowest, faults, inputs] = [0, 0, 0, 0];
  const told = new Set<string>();
  for (; inputs < share && faults < FAULTS_EACH; inputs++) {
    Atomics.store(at, 1, inputs);
    const started = performance.now();
    const input = inputOf(target, seed, inputs);
    const result = await feed(target, input);
    slowest = Math.max(slowest, performance.now() - started);
    if (result.accepted) accepted++;
    if (target.cost !== 'memory' && strayFiles(scratch).length > 0) {
      result.fault ??= { target: target.name, input, what: `it wrote ${strayFiles(scratch).join(', ')} outside` };
    }
    if (!result.fault) continue;
    faults++;
    // The same fault is told once, by where it came from.
    const kind = result.fault.what
      .split('\n')
      .slice(0, 2)
      .join('\n')
      .replace(/[0-9a-f]{2,}/g, '');
    if (!told.has(kind)) say({ kind: 'fault', ...result.fault });
    told.add(kind);
  }
  await target.close?.();
  say({ kind: 'target', target: target.name, inputs, accepted, seconds: (performance.now() - began) / 1000, slowest });
}
say({ kind: 'end' });
