/**
 * What a runner and the server say to each other: JSON over HTTP below `RUNNER_API_PATH`, authenticated by
 * `Authorization: Bearer <runner token>`.
 *
 *     POST /lease                      LeaseRequest      -> 200 LeaseResponse | 204 nothing to do within waitSeconds
 *     POST /executions/:id/heartbeat   HeartbeatRequest  -> 200 HeartbeatResponse | 409 stale-token
 *     POST /executions/:id/board       BoardRequest      -> 200 BoardView | 409 stale-token
 *     POST /executions/:id/complete    CompleteRequest   -> 200 | 409 stale-token | 422 outputs not whole in the store
 *
 * Errors have the body `ProtocolError`. A runner stops a job at once on 404 and 409, and tries again on 5xx and on
 * network failures.
 */
import { z } from 'zod';

export const RUNNER_API_PATH = '/api/v1/runner';

/** Version of this protocol; the server refuses a lease request of a version that it does not speak. */
export const RUNNER_PROTOCOL = 1;

/** Longest log chunk of one heartbeat, in UTF-16 code units. The server may set its body limit from it. */
export const MAX_LOG_CHUNK = 256 * 1024;

const Checksum = z.string().regex(/^[0-9a-f]{64}$/, 'a checksum is 64 lower-case hexadecimal digits');

/** The checksums of a tree's root dirtree and root dirmeta. */
export const Tree = z.object({ contents: Checksum, meta: Checksum });
export type Tree = z.infer<typeof Tree>;

/** Name of an input, an output or an artifact: one path component that needs no quoting in a shell. */
const EntryName = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/, 'a name has letters, digits, ".", "_" and "-", and starts with no dot');

/** A path below /out: relative, without "..", "." meaning all of it. */
const OutputPath = z
  .string()
  .min(1)
  .refine(
    (path) => !path.startsWith('/') && !path.includes('\0') && !path.split('/').includes('..'),
    'an output path is relative to /out and has no ".."',
  );

/** What a runner is and has. */
export const RunnerOffer = z.object({
  name: z.string().min(1).max(128),
  /** As `uname -m` says it: x86_64, aarch64, ... */
  arch: z.string().min(1).max(32),
  cpus: z.int().positive(),
  memoryBytes: z.int().positive(),
  /** There is a real GPU. A runner without one that emulates it says so in `emulates`. */
  gpu: z.boolean(),
  labels: z.array(z.string()),
  /** Needs that this runner accepts without having them: "gpu", or an architecture. */
  emulates: z.array(z.string()),
  sandbox: z.enum(['bubblewrap', 'none']),
  /** What the machine lacks to run root jobs; null: nothing. A runner that knows no root jobs does not say. */
  lacksForRoot: z.string().max(2000).nullable().optional(),
  protocol: z.literal(RUNNER_PROTOCOL),
  /** Boards that it can try systems on, by name; `qemu` stands for any board file that QEMU plays. */
  boards: z.array(EntryName).max(100).optional(),
});
export type RunnerOffer = z.infer<typeof RunnerOffer>;

export const LeaseRequest = z.object({
  runner: RunnerOffer,
  /** How long the server may hold the request open before it answers 204. */
  waitSeconds: z.number().min(0).max(300),
});
export type LeaseRequest = z.infer<typeof LeaseRequest>;

/** Either a tree of the store, or the runner's own /usr and friends. */
export const JobImage = z.union([z.object({ tree: Tree }), z.object({ host: z.literal(true) })]);
export type JobImage = z.infer<typeof JobImage>;

/** What a board suffers while it takes the candidate. */
export const BoardFault = z.enum(['power-cut', 'full-disk', 'network-loss']);
export type BoardFault = z.infer<typeof BoardFault>;

/** What a board job tries, and on what. */
export const BoardWork = z.object({
  /** A board of the runner's, or a board file in the job's source. */
  board: z.union([z.object({ name: EntryName }), z.object({ file: z.string().min(1) })]),
  /** Commit that is tried. */
  system: Checksum,
  /** Commit that it is tried over, and gone back to; null: there is nothing to go back to. */
  over: Checksum.nullable(),
  faults: z.array(BoardFault),
  /** The device that the board is for this job. The board enrols with the token, once. */
  device: z.object({
    id: z.string().min(1).max(64),
    token: z.string().min(1),
    /** Address of the gateway as this server knows it. */
    gateway: z.url(),
    channel: z.string().min(1),
  }),
});
export type BoardWork = z.infer<typeof BoardWork>;

/** All that a job needs to run: a function from trees to trees. */
export const JobSpec = z.object({
  project: z.string(),
  job: z.string(),
  /** Id of the run that asked first; for logs only. */
  run: z.string(),
  /** The cache key, 64 hexadecimal digits; for logs only. */
  key: z.string(),
  image: JobImage,
  /** Checked out writable at /src; null: /src is empty. */
  source: Tree.nullable(),
  /** Checked out read-only at /in/<name>. */
  inputs: z.array(z.object({ name: EntryName, tree: Tree })),
  /** Script for `sh -eu`, working directory /src. */
  command: z.string(),
  environment: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string()),
  network: z.boolean(),
  /** The script is root of a user namespace with 65,536 ids; its outputs keep owners and setuid bits. */
  root: z.boolean().optional(),
  timeoutSeconds: z.number().positive(),
  /** Limit for what the job writes in /src, /out and /tmp together, and for the length of any one file. */
  diskBytes: z.int().positive(),
  /** Limit for the resident memory of all its processes together; absent: none. */
  memoryBytes: z.int().positive().optional(),
  /** Folders below /out to store. A job without outputs is a test. */
  outputs: z.array(z.object({ name: EntryName, path: OutputPath })),
  /** The job's needs that this runner only emulates; the log says so first. */
  emulated: z.array(z.string()),
  /** The job asked for a GPU: show it the runner's GPU devices, if there are any. */
  gpu: z.boolean().optional(),
  /** The job tries a system on a board: no command is run, and the board file is in `source`. */
  board: BoardWork.optional(),
});
export type JobSpec = z.infer<typeof JobSpec>;

export const Lease = z.object({
  executionId: z.string().min(1),
  attempt: z.int().positive(),
  /** Fencing token: grows with each lease of the execution; only the newest is accepted. */
  token: z.int().nonnegative(),
  /** The runner calls at least this often. */
  heartbeatSeconds: z.number().positive(),
  job: JobSpec,
});
export type Lease = z.infer<typeof Lease>;

export const LeaseResponse = z.object({ lease: Lease });
export type LeaseResponse = z.infer<typeof LeaseResponse>;

export const HeartbeatRequest = z.object({
  token: z.int().nonnegative(),
  /** Next piece of the job's output, UTF-8 with invalid bytes replaced. */
  log: z.string().max(MAX_LOG_CHUNK).optional(),
  /**
   * Where the piece starts, in bytes of UTF-8 since the start of this lease's log. A piece that was sent
   * again after a lost answer has the same offset and may be longer: the server drops what it has.
   */
  logOffset: z.int().nonnegative(),
});
export type HeartbeatRequest = z.infer<typeof HeartbeatRequest>;

export const HeartbeatResponse = z.object({ cancel: z.boolean() });
export type HeartbeatResponse = z.infer<typeof HeartbeatResponse>;

export const BoardRequest = z.object({
  token: z.int().nonnegative(),
  /** Lets the device run this commit from now on: one of the two that the job is about. */
  target: Checksum.optional(),
});
export type BoardRequest = z.infer<typeof BoardRequest>;

/** What the server knows of the device of a board job. Times are its clock's, in ms. */
export const BoardView = z.object({
  now: z.number(),
  target: Checksum.nullable(),
  /** null: it has not enrolled yet. */
  device: z
    .object({
      /** As it last said; '' while it has said nothing. */
      state: z.string(),
      release: Checksum.nullable(),
      from: Checksum.nullable(),
      reason: z.string().nullable(),
      current: Checksum.nullable(),
      lastSeen: z.number().nullable(),
      bad: z.array(z.object({ commit: Checksum, reason: z.string().nullable() })),
    })
    .nullable(),
  /** What it reported, oldest first; `number` counts them. */
  events: z.array(
    z.object({
      number: z.number(),
      type: z.string(),
      release: z.string().nullable(),
      success: z.boolean().nullable(),
      details: z.string().nullable(),
      at: z.number(),
    }),
  ),
  /** What was sent to it so far: requests for objects, and their bytes. */
  sent: z.object({ requests: z.number(), bytes: z.number() }),
});
export type BoardView = z.infer<typeof BoardView>;

/** Where the time and the space went. Reported for people, never part of a key. */
export const Usage = z.object({
  prepareSeconds: z.number().nonnegative(),
  runSeconds: z.number().nonnegative(),
  storeSeconds: z.number().nonnegative(),
  /** The most that the polls of the writable folders saw. */
  diskBytes: z.int().nonnegative(),
});
export type Usage = z.infer<typeof Usage>;

/**
 * Why a job failed, the job being to blame. `exit`: its script returned something else than 0; `killed`: cancelled, or
 * stopped for its memory limit; `output-missing`, `output-invalid`: it passed, but /out is not what it declares;
 * `board`: the system did not prove good on the board.
 */
export const FailureReason = z.enum([
  'exit',
  'timeout',
  'disk-full',
  'output-missing',
  'output-invalid',
  'killed',
  'board',
]);
export type FailureReason = z.infer<typeof FailureReason>;

/** What came of an execution. `infrastructure` is never the job's fault: the server tries again. */
export const JobResult = z.discriminatedUnion('status', [
  z.object({ status: z.literal('passed'), outputs: z.record(z.string(), Tree), usage: Usage.optional() }),
  z.object({
    status: z.literal('failed'),
    reason: FailureReason,
    exitCode: z.int().optional(),
    message: z.string(),
    usage: Usage.optional(),
  }),
  z.object({ status: z.literal('infrastructure'), message: z.string() }),
]);
export type JobResult = z.infer<typeof JobResult>;

export const CompleteRequest = z.object({ token: z.int().nonnegative(), result: JobResult });
export type CompleteRequest = z.infer<typeof CompleteRequest>;

export const ProtocolError = z.object({
  error: z.object({ code: z.string(), message: z.string().optional(), hint: z.string().optional() }),
});
export type ProtocolError = z.infer<typeof ProtocolError>;
