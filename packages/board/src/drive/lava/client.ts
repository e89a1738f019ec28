import { z } from 'zod';
import { BoardError } from '../../errors.ts';

const Submitted = z.object({ job_ids: z.array(z.union([z.string(), z.number()])).min(1) });

/** As LAVA names them (`lava_scheduler_app.models.TestJob`). */
const Job = z.object({
  state: z.enum(['Submitted', 'Scheduling', 'Scheduled', 'Running', 'Canceling', 'Finished']),
  health: z.enum(['Unknown', 'Complete', 'Incomplete', 'Canceled']),
});
export type LavaJob = z.infer<typeof Job>;

const Suites = z.object({ results: z.array(z.object({ id: z.number(), name: z.string() })) });
const Tests = z.object({
  results: z.array(z.object({ name: z.string(), result: z.string(), metadata: z.unknown().optional() })),
});
export type LavaResult = { suite: string; test: string; result: string };

const CALL_MS = 60_000;

/** The calls of LAVA's REST API, version 0.2, that a board needs. */
export interface LavaClient {
  /** Submits a job definition (YAML) and answers its id. */
  submit(definition: string, signal?: AbortSignal): Promise<string>;
  job(id: string, signal?: AbortSignal): Promise<LavaJob>;
  /** The job's log as LAVA keeps it: one YAML list item a line. */
  log(id: string, signal?: AbortSignal): Promise<string>;
  /** What its test suites say; with LAVA's own suite `lava`, whose test `job` says how the job ended. */
  results(id: string, signal?: AbortSignal): Promise<LavaResult[]>;
  cancel(id: string, signal?: AbortSignal): Promise<void>;
}

/** @throws (by its calls) BoardError `board-trouble` when the lab does not answer as it should */
export function createLavaClient(o: { server: string; token: string }): LavaClient {
  const base = `${o.server.replace(/\/+$/, '')}/api/v0.2`;

  const call = async (
    path: string,
    { method = 'GET', body, signal }: { method?: string; body?: unknown; signal?: AbortSignal | undefined } = {},
  ): Promise<string> => {
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${base}${path}`, {
        method,
        headers: {
          authorization: `Token ${o.token}`,
          accept: 'application/json',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        redirect: 'error',
        signal: signal ? AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)]) : AbortSignal.timeout(CALL_MS),
      });
      text = await response.text();
    } catch (cause) {
      signal?.throwIfAborted();
      throw new BoardError('board-trouble', `the lab ${o.server} does not answer`, { cause });
    }
    if (response.ok) return text;
    const isToken = response.status === 401 || response.status === 403;
    throw new BoardError(
      'board-trouble',
      `the lab refuses ${method} ${path}: ${response.status} ${text.slice(0, 500)}`,
      {
        ...(isToken ? { hint: 'Is the token one of a user of the lab who may submit jobs?' } : {}),
      },
    );
  };
  const read = async <T>(schema: z.ZodType<T>, path: string, text: string): Promise<T> => {
    const parsed = schema.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
    const problem = z.prettifyError(parsed.error).replaceAll('\n', '; ');
    throw new BoardError('board-trouble', `the lab's answer to ${path} is not of its API: ${problem}`);
  };
  const get = async <T>(schema: z.ZodType<T>, path: string, signal?: AbortSignal): Promise<T> =>
    await read(schema, path, await call(path, { signal }));

  return {
    async submit(definition, signal) {
      const text = await call('/jobs/', { method: 'POST', body: { definition }, signal });
      const { job_ids } = await read(Submitted, '/jobs/', text);
      return String(job_ids[0]);
    },
    job: (id, signal) => get(Job, `/jobs/${id}/`, signal),
    log: (id, signal) => call(`/jobs/${id}/logs/`, { signal }),
    async results(id, signal) {
      const { results: suites } = await get(Suites, `/jobs/${id}/suites/`, signal);
      const found: LavaResult[] = [];
      for (const suite of suites) {
        const { results } = await get(Tests, `/jobs/${id}/suites/${suite.id}/tests/`, signal);
        for (const { name, result } of results) found.push({ suite: suite.name, test: name, result });
      }
      return found;
    },
    async cancel(id, signal) {
      await call(`/jobs/${id}/cancel/`, { signal });
    },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
