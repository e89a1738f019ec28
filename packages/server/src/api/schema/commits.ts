import { z } from '@hono/zod-openapi';
import { FoundLabel } from './labels.ts';
import { Checksum, Source, Time, Tree } from './values.ts';

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
    /** Source commit of its own repository, if the job saw any of that. Not in commits of before it was noted. */
    source: Checksum.nullable().optional(),
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
    kind: z.enum(['source', 'artifact', 'built-in', 'other']),
    /** Of an artifact. */
    provenance: Provenance.nullable(),
    /** Of a source commit. */
    source: Source.extend({ branch: z.string() }).nullable(),
    /** Of an artifact that comes with Treeline: its name (`agent`), and the version that it came with first. */
    builtIn: z.object({ artifact: z.string(), version: z.string() }).nullable(),
    /** Channels that have it now: `repository:channel`. */
    channels: z.array(z.string()),
    /** Its own labels, and those of all that it was made from. */
    labels: z.array(FoundLabel),
  })
  .openapi('CommitInfo');
export type CommitInfo = z.infer<typeof CommitInfo>;

export const DiffNode = z.object({
  type: z.enum(['file', 'symlink', 'dir']),
  /** Permission bits and file type, as in stat(2). */
  mode: z.number().optional(),
  uid: z.number().optional(),
  gid: z.number().optional(),
  /** Extended attributes, the value in base64. Left out when there are none. */
  xattrs: z.array(z.object({ name: z.string(), value: z.string() })).optional(),
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
        /** What differs, of a path that is on both sides. */
        differs: z.array(z.enum(['type', 'content', 'target', 'mode', 'owner', 'xattrs'])),
        /** Bytes that a device at `from` fetches for this path; what several paths need counts for the first. */
        download: z.number(),
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
