import { z } from '@hono/zod-openapi';
import { Checksum, Problem, Source, Time, Tree } from './values.ts';

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
    kind: z.enum(['command', 'compose', 'board']),
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

export const RunDetail = Run.extend({
  manifest: z.array(Source),
  jobs: z.array(Job),
  publishes: z.array(RunPublish),
}).openapi('RunDetail');
export type RunDetail = z.infer<typeof RunDetail>;
