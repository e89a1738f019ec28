import type { ArtifactId, ArtifactReference, Job, JobId, Position } from '../model.ts';

/** Why one job waits for another. `name` is the input's name, or the needed job's, or the artifact's. */
export type Dependency = {
  readonly on: JobId;
  readonly reason: 'image' | 'input' | 'layer' | 'system' | 'needs';
  readonly name: string;
  readonly position: Position;
};

export type GraphJob = {
  readonly job: Job;
  /** In the order image, inputs or layers, needs. One job may be named more than once. */
  readonly dependencies: readonly Dependency[];
};

/** An entry of some project's `publish:`, resolved. */
export type PublishStep = {
  /** `repository:channel`; unique over all projects. */
  readonly id: string;
  readonly project: string;
  readonly artifact: ArtifactReference;
  readonly repository: string;
  readonly channel: string;
  /** The job that makes the artifact. */
  readonly maker: JobId;
  /** All jobs that must have passed: the maker first, then `after`, without duplicates. */
  readonly after: readonly JobId[];
};

/** All projects' pipelines in one: every reference resolves and there is no cycle. */
export type Graph = {
  readonly jobs: ReadonlyMap<JobId, GraphJob>;
  /** Every job after those it depends on; among those that could come next, by id. */
  readonly order: readonly JobId[];
  readonly artifacts: ReadonlyMap<ArtifactId, JobId>;
  readonly publishes: readonly PublishStep[];
};
