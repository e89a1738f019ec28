import type { Label } from './label/label.ts';

/** One-based place in a file, as an editor counts. */
export type Position = { readonly line: number; readonly column: number };

/** Checksums (64 hex) of a root dirtree and a root dirmeta: what a commit holds, without its time and message. */
export type Tree = { readonly contents: string; readonly meta: string };

/** `project/job`; unique over all projects. */
export type JobId = `${string}/${string}`;

/** `project/artifact`; unique over all projects. */
export type ArtifactId = `${string}/${string}`;

/** An artifact that is named somewhere in a file. `position` is where it is named. */
export type ArtifactReference = {
  readonly project: string;
  readonly artifact: string;
  readonly position: Position;
};

/** A job of the same project that is named in `needs` or `after`. */
export type JobReference = { readonly job: string; readonly position: Position };

/** What a job runs in: the runner's own system, or an artifact. */
export type Image = { readonly kind: 'host' } | ({ readonly kind: 'artifact' } & ArtifactReference);

/** What a job asks of the machine that runs it. `arch: null` = the server's default architecture. */
export type RunsOn = {
  readonly arch: string | null;
  readonly gpu: boolean;
  /** Bytes; null = no demand. */
  readonly memoryBytes: number | null;
  /** Sorted, without duplicates. */
  readonly labels: readonly string[];
};

export type Input = { readonly name: string; readonly artifact: ArtifactReference };

/** `path` is relative to /out, normalised; `.` = all of it. */
export type Output = { readonly name: string; readonly path: string };

type JobHead = {
  readonly id: JobId;
  readonly project: string;
  readonly name: string;
  /** Of the job's key in the file. */
  readonly position: Position;
  readonly needs: readonly JobReference[];
  /**
   * Patterns for `matchPaths`: which files of its repository the job sees. null = all of them, [] = none (the job
   * then has no source). For a compose job it follows from its `source` layers.
   */
  readonly paths: readonly string[] | null;
  /** What the job makes; empty for a test. */
  readonly outputs: readonly Output[];
  /** Labels of outputs, by output. They say who may have what is made, and change nothing about making it. */
  readonly labels: Readonly<Record<string, Label>>;
};

/** A job that runs a script on a runner. */
export type CommandJob = JobHead & {
  readonly kind: 'run';
  readonly image: Image;
  readonly runsOn: RunsOn;
  readonly inputs: readonly Input[];
  /** The file's defaults and the job's own, merged. */
  readonly environment: Readonly<Record<string, string>>;
  readonly network: boolean;
  /** The script is root in a user namespace, and its outputs keep owners and set-user-id bits. */
  readonly root: boolean;
  readonly timeoutSeconds: number;
  readonly diskBytes: number;
  /** Script for `sh -eu`. */
  readonly command: string;
};

/**
 * One step of a composition. `from` and `at` and `remove` are absolute paths inside a tree; `source` is a folder of
 * the repository, `.` = all of it.
 */
export type Layer =
  | { readonly kind: 'tree'; readonly artifact: ArtifactReference; readonly from: string; readonly at: string }
  | { readonly kind: 'source'; readonly folder: string; readonly at: string }
  | { readonly kind: 'remove'; readonly path: string };

/** A job without a command: the server merges trees in order, later wins. Has exactly one output, with path `.`. */
export type ComposeJob = JobHead & { readonly kind: 'compose'; readonly layers: readonly Layer[] };

/** What a board suffers while it takes the candidate. */
export type BoardFault = 'power-cut' | 'full-disk' | 'network-loss';

/** A channel of a published repository. */
export type ChannelReference = { readonly repository: string; readonly channel: string };

/**
 * A job that tries a system on a board: over the release that a channel has, forward, back, and forward again. Has one
 * output, its report.
 */
export type BoardJob = JobHead & {
  readonly kind: 'board';
  /** Name of a board that runners offer, or path of a board file in the repository, relative to its root. */
  readonly board: { readonly name: string } | { readonly file: string };
  readonly system: ArtifactReference;
  /** null: nothing to go back to; the system is installed and must prove good. */
  readonly over: ChannelReference | null;
  /** Sorted, without duplicates. */
  readonly faults: readonly BoardFault[];
  readonly timeoutSeconds: number;
};

export type Job = CommandJob | ComposeJob | BoardJob;

/** An entry of `publish:`. */
export type Publish = {
  /** Artifact of the same project. */
  readonly artifact: ArtifactReference;
  /** Ref in the published repository. */
  readonly channel: string;
  readonly repository: string;
  /** Jobs that must pass besides the one that makes the artifact. */
  readonly after: readonly JobReference[];
  readonly position: Position;
};

/** An entry of `releases:`: a finished artifact that may be released, whatever it was made from. */
export type ReleaseDeclaration = {
  /** Artifact of the same project. */
  readonly artifact: ArtifactReference;
  /** The published repository that it may be released to. */
  readonly repository: string;
  readonly because: string;
  readonly position: Position;
};

/** A checked treeline.yaml. References inside the project are known to resolve; those to other projects are not. */
export type Pipeline = {
  readonly project: string;
  /** For messages. */
  readonly file: string;
  /** In the order of the file. */
  readonly jobs: readonly Job[];
  readonly publishes: readonly Publish[];
  /** Of the project's sources, and so of whatever is made from them; null = it says nothing. */
  readonly label: Label | null;
  readonly releases: readonly ReleaseDeclaration[];
};

export function jobId(project: string, job: string): JobId {
  return `${project}/${job}`;
}

export function artifactId(reference: { project: string; artifact: string }): ArtifactId {
  return `${reference.project}/${reference.artifact}`;
}
