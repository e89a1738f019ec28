/**
 * Bodies of the REST API, request and response: a zod value and its type under one name. Times are ISO 8601 strings,
 * durations milliseconds, checksums 64 hex digits. Unknown keys in a request are refused.
 */
import { z } from '@hono/zod-openapi';

export const Checksum = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits');
export const Tree = z.object({ contents: Checksum, meta: Checksum }).openapi('Tree');
export type Tree = z.infer<typeof Tree>;

/** A project, job, artifact or repository name. */
export const Name = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'expected 1 to 63 letters, digits, ".", "_" or "-", starting with a letter or digit',
  );
/** A channel: an OSTree ref such as `robot/edge`. */
export const RefName = z
  .string()
  .max(255)
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/, 'expected a ref such as robot/edge');
const Time = z.iso.datetime();

export const ErrorBody = z
  .object({
    error: z.object({
      code: z.string(),
      message: z.string(),
      hint: z.string().optional(),
      requestId: z.string(),
      /** Facts of some codes: `diagnostics` of pipeline-invalid, `missing` of outputs-incomplete, `current` of conflict. */
      data: z.unknown().optional(),
    }),
  })
  .openapi('Error');
export type ErrorBody = z.infer<typeof ErrorBody>;

// ---- projects

export const ProjectCreate = z
  .strictObject({
    name: Name,
    /** Anything that `git fetch` takes over file, http(s), ssh or git: no remote helpers. */
    url: z.string().min(1).max(2048),
    /** Default: the branch that the remote's HEAD names. */
    branch: z.string().min(1).max(255).optional(),
    /** Whether the first fetch starts a run. Default true; false while several projects are added that need each other. */
    run: z.boolean().optional(),
  })
  .openapi('ProjectCreate');
export type ProjectCreate = z.infer<typeof ProjectCreate>;

const Problem = z.object({ code: z.string(), message: z.string(), hint: z.string().optional() });

export const Project = z
  .object({
    name: z.string(),
    url: z.string(),
    branch: z.string(),
    /** Newest revision in the store; null before the first fetch has ended. */
    head: z.object({ revision: z.string(), subject: z.string(), commit: Checksum }).nullable(),
    /** Why the last fetch failed; null when it did not. */
    error: Problem.nullable(),
    fetchedAt: Time.nullable(),
    createdAt: Time,
  })
  .openapi('Project');
export type Project = z.infer<typeof Project>;
export const ProjectList = z.object({ projects: z.array(Project) });

export const ProjectRun = z
  .strictObject({
    /** Revision, tag or branch to run instead of the followed branch's newest. */
    revision: z.string().min(1).max(255).optional(),
  })
  .openapi('ProjectRun');
export type ProjectRun = z.infer<typeof ProjectRun>;

// ---- runs

export const Diagnostic = z.object({
  project: z.string(),
  file: z.string(),
  line: z.number(),
  column: z.number(),
  message: z.string(),
  hint: z.string().optional(),
});
export type Diagnostic = z.infer<typeof Diagnostic>;

export const RunState = z.enum(['running', 'passed', 'failed', 'cancelled', 'superseded']);
export type RunState = z.infer<typeof RunState>;

export const JobState = z.enum(['blocked', 'queued', 'running', 'passed', 'failed', 'skipped', 'cancelled']);
export type JobState = z.infer<typeof JobState>;

export const RunCreate = z.strictObject({ reason: z.string().min(1).max(500).optional() }).openapi('RunCreate');
export type RunCreate = z.infer<typeof RunCreate>;

export const Run = z
  .object({
    id: z.string(),
    number: z.number(),
    state: RunState,
    reason: z.string(),
    trigger: z.object({ project: z.string(), branch: z.string(), revision: z.string() }).nullable(),
    /** Why it could not be planned (a broken treeline.yaml, a cycle …). */
    error: Problem.extend({ diagnostics: z.array(Diagnostic) }).nullable(),
    /** Jobs by state; `reused` counts those of `passed` that were not executed for this run. */
    counts: z.object({ total: z.number(), reused: z.number(), states: z.partialRecord(JobState, z.number()) }),
    createdAt: Time,
    finishedAt: Time.nullable(),
    durationMs: z.number().nullable(),
  })
  .openapi('Run');
export type Run = z.infer<typeof Run>;
export const RunList = z.object({ runs: z.array(Run) });

/** One difference between two keys of a job: why it was not reused. */
export const KeyDifference = z.object({
  field: z.string(),
  before: z.string().nullable(),
  after: z.string().nullable(),
  message: z.string(),
});
export type KeyDifference = z.infer<typeof KeyDifference>;

export const Failure = z.object({ reason: z.string(), message: z.string(), exitCode: z.number().optional() });
export type Failure = z.infer<typeof Failure>;

export const Job = z
  .object({
    /** `project/name`. */
    id: z.string(),
    project: z.string(),
    name: z.string(),
    kind: z.enum(['command', 'compose']),
    state: JobState,
    /** True when the result was there already: nothing was executed for this run. */
    reused: z.boolean(),
    key: Checksum.nullable(),
    /** Against the job's last run with another key; empty when it never ran before or was reused. */
    why: z.array(KeyDifference),
    /** Jobs it waits for (state blocked) or was skipped because of. */
    blockedOn: z.array(z.string()),
    /** Why a queued job waits: no runner, busy runners, and which need each runner fails. */
    waits: z.string().nullable(),
    executionId: z.string().nullable(),
    runner: z.string().nullable(),
    /** What the runner only emulated, e.g. ["gpu"]. */
    emulated: z.array(z.string()),
    failure: Failure.nullable(),
    outputs: z.array(z.object({ artifact: z.string(), commit: Checksum, tree: Tree })),
    /** Path of the log below the server's URL. */
    log: z.string().nullable(),
    startedAt: Time.nullable(),
    finishedAt: Time.nullable(),
    durationMs: z.number().nullable(),
  })
  .openapi('Job');
export type Job = z.infer<typeof Job>;

export const RunPublish = z
  .object({
    project: z.string(),
    artifact: z.string(),
    repository: z.string(),
    channel: z.string(),
    /** `superseded`: a newer run's release was there first. `impossible`: a job that it waits for did not pass. */
    state: z.enum(['waiting', 'publishing', 'published', 'superseded', 'failed', 'impossible']),
    commit: Checksum.nullable(),
    releaseId: z.string().nullable(),
    message: z.string().nullable(),
  })
  .openapi('RunPublish');
export type RunPublish = z.infer<typeof RunPublish>;

export const Source = z.object({
  project: z.string(),
  url: z.string(),
  revision: z.string(),
  subject: z.string(),
  commit: Checksum,
});
export type Source = z.infer<typeof Source>;

export const RunDetail = Run.extend({
  manifest: z.array(Source),
  jobs: z.array(Job),
  publishes: z.array(RunPublish),
}).openapi('RunDetail');
export type RunDetail = z.infer<typeof RunDetail>;

// ---- artifacts, commits, diffs

export const Artifact = z
  .object({
    project: z.string(),
    artifact: z.string(),
    commit: Checksum,
    tree: Tree,
    key: Checksum,
    job: z.string(),
    /** Newest run that has it. */
    runId: z.string(),
    createdAt: Time,
  })
  .openapi('Artifact');
export type Artifact = z.infer<typeof Artifact>;
export const ArtifactList = z.object({ artifacts: z.array(Artifact) });

/** What an artifact commit's `treeline.provenance` metadata holds. */
export const Provenance = z
  .object({
    project: z.string(),
    job: z.string(),
    artifact: z.string(),
    key: Checksum,
    run: z.string(),
    inputs: z.array(z.object({ name: z.string(), commit: Checksum })),
    /** Every git revision that went into it, transitively. */
    sources: z.array(Source),
  })
  .openapi('Provenance');
export type Provenance = z.infer<typeof Provenance>;

export const CommitInfo = z
  .object({
    commit: Checksum,
    tree: Tree,
    parent: Checksum.nullable(),
    subject: z.string(),
    body: z.string(),
    createdAt: Time,
    kind: z.enum(['source', 'artifact', 'other']),
    /** Of an artifact. */
    provenance: Provenance.nullable(),
    /** Of a source commit. */
    source: Source.extend({ branch: z.string() }).nullable(),
    /** Channels that have it now: `repository:channel`. */
    channels: z.array(z.string()),
  })
  .openapi('CommitInfo');
export type CommitInfo = z.infer<typeof CommitInfo>;

export const DiffNode = z.object({
  type: z.enum(['file', 'symlink', 'dir']),
  /** Permission bits and file type, as in stat(2). */
  mode: z.number().optional(),
  /** Bytes; files only. */
  size: z.number().optional(),
  checksum: z.string().optional(),
  target: z.string().optional(),
});

export const Diff = z
  .object({
    from: Checksum,
    to: Checksum,
    changes: z.array(
      z.object({
        kind: z.enum(['added', 'removed', 'modified']),
        path: z.string(),
        before: DiffNode.optional(),
        after: DiffNode.optional(),
      }),
    ),
    /** What a device at `from` fetches to get to `to`. */
    download: z.object({
      objects: z.number(),
      bytes: z.number(),
      totalObjects: z.number(),
      totalBytes: z.number(),
    }),
  })
  .openapi('Diff');
export type Diff = z.infer<typeof Diff>;

// ---- releases

export const PublishRequest = z
  .strictObject({
    /** Anything that names a commit of the store: checksum, abbreviation, ref, or `project/artifact` (its newest). */
    commit: z.string().min(1).max(512),
    repository: Name.optional(),
    channel: RefName,
    /** Compare-and-swap: the commit that the channel must have now; null = the channel must not exist. */
    expect: Checksum.nullable().optional(),
    reason: z.string().min(1).max(500).optional(),
  })
  .openapi('PublishRequest');
export type PublishRequest = z.infer<typeof PublishRequest>;

export const Release = z
  .object({
    id: z.string(),
    number: z.number(),
    repository: z.string(),
    channel: z.string(),
    commit: Checksum,
    previous: Checksum.nullable(),
    state: z.enum(['publishing', 'published', 'abandoned', 'failed']),
    artifact: z.string().nullable(),
    runId: z.string().nullable(),
    reason: z.string(),
    message: z.string().nullable(),
    /** True for the channel's release of this moment. */
    current: z.boolean(),
    createdAt: Time,
    publishedAt: Time.nullable(),
  })
  .openapi('Release');
export type Release = z.infer<typeof Release>;
export const ReleaseList = z.object({ releases: z.array(Release) });

// ---- runners, status, events

export const Runner = z
  .object({
    name: z.string(),
    arch: z.string(),
    cpus: z.number(),
    memoryBytes: z.number(),
    gpu: z.boolean(),
    labels: z.array(z.string()),
    /** What it only pretends to have, so that one machine can show the whole line. */
    emulates: z.array(z.string()),
    sandbox: z.enum(['bubblewrap', 'none']),
    embedded: z.boolean(),
    online: z.boolean(),
    lastSeen: Time,
    /** Jobs it runs now: execution ids. */
    executions: z.array(z.string()),
  })
  .openapi('Runner');
export type Runner = z.infer<typeof Runner>;
export const RunnerList = z.object({
  runners: z.array(Runner),
  /** State of the embedded runner's process, for people. */
  embedded: z.object({ enabled: z.boolean(), pid: z.number().nullable(), problem: z.string().nullable() }),
});

export const Status = z
  .object({
    version: z.string(),
    url: z.string(),
    gatewayUrl: z.string().nullable(),
    dataDir: z.string(),
    startedAt: Time,
    projects: z.number(),
    runs: z.object({ running: z.number(), total: z.number() }),
    executions: z.object({ queued: z.number(), leased: z.number() }),
    runners: z.object({ online: z.number(), total: z.number() }),
    channels: z.array(
      z.object({ repository: z.string(), channel: z.string(), commit: Checksum, publishedAt: Time, url: z.string() }),
    ),
    lastEventId: z.number(),
  })
  .openapi('Status');
export type Status = z.infer<typeof Status>;

/** Data of one server-sent event; its SSE id is `id`, its SSE event name `type`. */
export const Event = z
  .object({ id: z.number(), type: z.string(), at: Time, data: z.record(z.string(), z.unknown()) })
  .openapi('Event');
export type Event = z.infer<typeof Event>;
