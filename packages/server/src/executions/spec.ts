import type { KeyLayer, KeyPlatform } from '@treeline/pipeline';
import type { BoardWork, JobSpec } from '@treeline/runner';
import type { Source } from '../api/schema.ts';
import type { ExecutionRow, ResultRow } from './tables.ts';

/** All that is needed to execute a key, wherever, and to say afterwards where its result comes from. */
export interface ExecutionSpec {
  project: string;
  /** Name within the project. */
  job: string;
  /** Run that asked first. */
  run: string;
  key: string;
  work:
    | {
        kind: 'command';
        /** What the runner gets; `emulated` and `gpu` follow from `platform`. */
        job: Omit<JobSpec, 'emulated' | 'gpu'>;
        platform: KeyPlatform;
      }
    | { kind: 'compose'; layers: readonly KeyLayer[] }
    | { kind: 'board'; job: Omit<JobSpec, 'emulated' | 'gpu' | 'board'>; trial: BoardTrial };
  /** Artifact names. */
  outputs: readonly string[];
  /** Artifact commits that go in: under the input's name, `image`, or the artifact's id for layers. */
  inputs: readonly { name: string; commit: string }[];
  /** Source commit of its own repository, if it sees any of that. Not in specs that an earlier version queued. */
  source?: string | null;
  /** Every git revision that goes in, transitively. */
  sources: readonly Source[];
}

/** What a board job tries; the device is made for each lease. */
export type BoardTrial = Omit<BoardWork, 'device'> & {
  /** Channel that the device follows. */
  channel: string;
};

export type StoredOutputs = Record<string, { commit: string; tree: { contents: string; meta: string } }>;

export function specOf(row: Pick<ExecutionRow, 'spec'>): ExecutionSpec {
  return JSON.parse(row.spec) as ExecutionSpec;
}

export function outputsOf(row: Pick<ResultRow, 'outputs'>): StoredOutputs {
  return JSON.parse(row.outputs) as StoredOutputs;
}
