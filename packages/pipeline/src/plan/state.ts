import type { PublishStep } from '../graph/graph.ts';
import type { KeyDocument } from '../key/document.ts';
import type { JobId, Tree } from '../model.ts';

/** Artifact name to tree. */
export type ResultOutputs = Readonly<Record<string, Tree>>;

/** What is known of a job in this run. A job that nothing was done about yet has no progress. */
export type JobProgress =
  /** An execution exists for this key: queued, leased, or shared with another run. */
  | { readonly state: 'running'; readonly key: string }
  | { readonly state: 'passed'; readonly key: string; readonly outputs: ResultOutputs; readonly reused?: boolean }
  | { readonly state: 'failed'; readonly key?: string; readonly message: string }
  | { readonly state: 'cancelled'; readonly key?: string };

/** What is known of a publish step in this run, by `PublishStep.id`. */
export type PublishProgress =
  | { readonly state: 'published' }
  /** The channel has the release of a newer run, or of somebody else: left as it is. */
  | { readonly state: 'superseded' }
  | { readonly state: 'failed'; readonly message: string };

/** What the machines at hand are like. */
export type PlatformPolicy = {
  /** Architecture of a job that names none. */
  readonly defaultArch: string;
  /** Fingerprint that stands for the image `host` in keys. */
  readonly hostImage: string;
  /** Architectures, `gpu` and labels that runners now only pretend to have. */
  readonly emulate: readonly string[];
};

export type PlanState = {
  /**
   * For every job whose `paths` is not []: the tree of its project's revision, filtered by `matchPaths(paths)`; a
   * folder in which nothing is left is not part of it.
   */
  readonly sources: ReadonlyMap<JobId, Tree>;
  readonly progress: ReadonlyMap<JobId, JobProgress>;
  readonly publishes: ReadonlyMap<string, PublishProgress>;
  /** The stored result of a key; undefined when nothing passed under it. */
  readonly known: (key: string) => ResultOutputs | undefined;
  /** Trees of the artifacts that come with Treeline, by name, as far as jobs of the graph take them. */
  readonly builtIns?: ReadonlyMap<string, Tree>;
  readonly platform: PlatformPolicy;
  /** Trees that channels have released, by `repository:channel`, for board jobs. */
  readonly released?: ReadonlyMap<string, Tree>;
  /** Version of Treeline, for board jobs. */
  readonly treeline?: string;
  /** The run was cancelled: nothing new starts. */
  readonly cancelled?: boolean;
};

export type PlanStep =
  /** Waits for these jobs, in the order in which the job names them. */
  | { readonly state: 'blocked'; readonly on: readonly JobId[] }
  /** To be executed under this key. */
  | { readonly state: 'ready'; readonly key: string; readonly document: KeyDocument }
  /** The same was done before. */
  | {
      readonly state: 'reused';
      readonly key: string;
      readonly outputs: ResultOutputs;
      /** Absent where progress said so, that is, when it was decided by an earlier plan. */
      readonly document?: KeyDocument;
    }
  | { readonly state: 'running'; readonly key: string }
  | { readonly state: 'passed'; readonly key: string; readonly outputs: ResultOutputs }
  | { readonly state: 'failed'; readonly message: string; readonly key?: string }
  | { readonly state: 'cancelled' }
  /** Cannot run since this job, direct or not, failed or was cancelled. */
  | { readonly state: 'skipped'; readonly because: JobId };

export type PlannedPublish = { readonly step: PublishStep } & (
  | { readonly state: 'waiting'; readonly on: readonly JobId[] }
  | { readonly state: 'ready'; readonly tree: Tree }
  /** `because` is null when the run was cancelled before the publish was due. */
  | { readonly state: 'impossible'; readonly because: JobId | null }
  | { readonly state: 'published' }
  | { readonly state: 'superseded' }
  | { readonly state: 'failed'; readonly message: string }
);

export type Plan = {
  /** In the graph's order. */
  readonly steps: ReadonlyMap<JobId, PlanStep>;
  readonly publishes: readonly PlannedPublish[];
  /** Nothing is left to do or to wait for, publishing included. */
  readonly done: boolean;
  /** Present when done. */
  readonly outcome?: 'passed' | 'failed' | 'cancelled';
};
