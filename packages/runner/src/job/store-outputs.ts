import type { IdShift } from '@treeline/ostree';
import { OstreeError } from '@treeline/ostree';
import type { Tree } from '../protocol.ts';
import { findOutput } from './outputs.ts';
import type { JobStore } from './store.ts';

/** The trees of a job's outputs, or why they cannot be stored, which is the job's fault. */
export type StoredOutputs =
  | { kind: 'stored'; outputs: Record<string, Tree> }
  | { kind: 'output-missing' | 'output-invalid'; message: string };

/** Finds the outputs that a job declares in its /out, which is the folder `out`, and stores them, all or none. */
export async function storeOutputs(
  store: JobStore,
  o: { out: string; outputs: ReadonlyArray<{ name: string; path: string }>; idShift?: IdShift },
): Promise<StoredOutputs> {
  const folders = new Map<string, string>();
  for (const output of o.outputs) {
    const found = await findOutput(o.out, output);
    if (found.kind !== 'found') return found;
    folders.set(output.name, found.folder);
  }
  if (folders.size === 0) return { kind: 'stored', outputs: {} };
  try {
    return { kind: 'stored', outputs: await store.write(folders, { idShift: o.idShift }) };
  } catch (error) {
    if (!(error instanceof OstreeError) || error.code !== 'unsupported') throw error;
    return { kind: 'output-invalid', message: `a tree cannot hold what the job made: ${error.message}` };
  }
}
