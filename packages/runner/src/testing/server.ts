import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JobResult, JobSpec, Lease, RunnerOffer, Tree } from '../protocol.ts';
import { CompleteRequest, HeartbeatRequest, LeaseRequest, RUNNER_API_PATH } from '../protocol.ts';

export const TEST_TOKEN = 'test-token';

/** What a test can see of an execution, and do to it. */
export type TestExecution = {
  lease: Lease;
  log: string;
  heartbeats: number;
  result: JobResult | null;
  /** Resolves with the result. */
  completed: Promise<JobResult>;
  complete: (result: JobResult) => void;
  cancel: boolean;
  stale: boolean;
  /** Statuses to answer the next `complete` calls with, instead of 200. */
  completeStatuses: number[];
};

export type TestServer = {
  url: string;
  offers: RunnerOffer[];
  /** Offers a job to the next runner that asks. */
  enqueue: (job: Partial<JobSpec>) => TestExecution;
  /** While set, all calls are answered with 503. */
  down: boolean;
  close: () => Promise<void>;
  /** Cuts all connections and listens again on the same port after a while. */
  restart: (downMs: number) => Promise<void>;
};

/** A job that is nothing but its script; `fields` replace what matters to the test. */
export function testJob(fields: Partial<JobSpec>): JobSpec {
  return {
    project: 'robot',
    job: 'train',
    run: '1',
    key: '0'.repeat(64),
    image: { host: true },
    source: null,
    inputs: [],
    command: 'true',
    environment: {},
    network: false,
    timeoutSeconds: 20,
    diskBytes: 100_000_000,
    outputs: [],
    emulated: [],
    ...fields,
  };
}

/** A server that speaks the runner protocol as the contract has it, and keeps all in memory. */
export async function startTestServer(): Promise<TestServer> {
  const executions = new Map<string, TestExecution>();
  let waiting: TestExecution[] = [];
  let arrived = Promise.withResolvers<void>();

  const answer = (response: ServerResponse, status: number, body?: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  };
  const problem = (response: ServerResponse, status: number, code: string): void =>
    answer(response, status, { error: { code } });

  const lease = async (body: unknown, response: ServerResponse): Promise<void> => {
    const { runner, waitSeconds } = LeaseRequest.parse(body);
    self.offers.push(runner);
    const deadline = Date.now() + waitSeconds * 1000;
    while (waiting.length === 0 && Date.now() < deadline && !response.destroyed) {
      await Promise.race([arrived.promise, new Promise((resolve) => setTimeout(resolve, 20))]);
    }
    // A runner that hung up must not get a job.
    if (response.destroyed) return;
    const next = waiting.shift();
    if (next) answer(response, 200, { lease: next.lease });
    else answer(response, 204);
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    if (self.down) return problem(response, 503, 'down');
    if (request.headers.authorization !== `Bearer ${TEST_TOKEN}`) return problem(response, 401, 'unauthorized');
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    const path = (request.url ?? '').slice(RUNNER_API_PATH.length);
    if (path === '/lease') return await lease(body, response);
    const [, , id, verb] = path.split('/');
    const execution = executions.get(id ?? '');
    if (!execution) return problem(response, 404, 'not-found');
    if (execution.stale) return problem(response, 409, 'stale-token');
    if (verb === 'heartbeat') {
      const { log = '', logOffset } = HeartbeatRequest.parse(body);
      execution.heartbeats++;
      const known = Buffer.byteLength(execution.log) - logOffset;
      execution.log += Buffer.from(log).subarray(known).toString('utf8');
      return answer(response, 200, { cancel: execution.cancel });
    }
    const status = execution.completeStatuses.shift();
    if (status !== undefined) return problem(response, status, 'as-told');
    execution.complete(CompleteRequest.parse(body).result);
    answer(response, 200, {});
  };

  const listen = async (port: number): Promise<{ port: number; close: () => Promise<void> }> => {
    const server = createServer((request, response) => {
      handle(request, response).catch((error) => problem(response, 400, String(error)));
    });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return {
      port: (server.address() as AddressInfo).port,
      close: async () => {
        server.closeAllConnections();
        await new Promise<void>((resolve) => server.close(() => resolve()));
      },
    };
  };

  let listening = await listen(0);
  const self: TestServer = {
    url: `http://127.0.0.1:${listening.port}`,
    offers: [],
    down: false,
    enqueue: (job) => {
      const executionId = `e${executions.size + 1}`;
      const done = Promise.withResolvers<JobResult>();
      const execution: TestExecution = {
        lease: { executionId, attempt: 1, token: executions.size + 7, heartbeatSeconds: 0.5, job: testJob(job) },
        log: '',
        heartbeats: 0,
        result: null,
        completed: done.promise,
        complete: (result) => {
          execution.result = result;
          done.resolve(result);
        },
        cancel: false,
        stale: false,
        completeStatuses: [],
      };
      executions.set(executionId, execution);
      waiting.push(execution);
      arrived.resolve();
      arrived = Promise.withResolvers<void>();
      return execution;
    },
    close: async () => {
      waiting = [];
      await listening.close();
    },
    restart: async (downMs) => {
      const { port } = listening;
      await listening.close();
      await new Promise((resolve) => setTimeout(resolve, downMs));
      listening = await listen(port);
    },
  };
  return self;
}

/** Waits until something holds. */
export async function eventually(holds: () => boolean, what: string, ms = 60_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!holds()) {
    if (Date.now() > deadline) throw new assert.AssertionError({ message: `not within ${ms} ms: ${what}` });
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The outputs of a job that must have passed. */
export function outputsOf(result: JobResult): Record<string, Tree> {
  assert.equal(result.status, 'passed', JSON.stringify(result));
  return result.status === 'passed' ? result.outputs : {};
}
