import { z } from '@hono/zod-openapi';
import { Checksum, Name, Problem, Time } from './values.ts';

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
