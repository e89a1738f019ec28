import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { openRepo, withTransaction, writeFolder } from '@treeline/ostree';
import type { JobResult, JobSpec, Lease, RunnerOffer } from '@treeline/runner';

export const OFFER: RunnerOffer = {
  name: 'test-runner',
  arch: { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch,
  cpus: 2,
  memoryBytes: 8 * 1024 ** 3,
  gpu: false,
  labels: [],
  emulates: [],
  sandbox: 'none',
  protocol: 1,
};

export interface RunnerClient {
  lease(waitSeconds?: number, offer?: Partial<RunnerOffer>): Promise<Lease | null>;
  heartbeat(lease: Lease, log?: string, logOffset?: number): Promise<Answer>;
  complete(lease: Lease, result: JobResult): Promise<Answer>;
}

export interface Answer {
  status: number;
  body: { cancel?: boolean; error?: { code: string } };
}

/** Speaks the runner protocol, without a sandbox or a process. */
export function runnerClient(url: string, token: string): RunnerClient {
  const post = async (path: string, body: unknown): Promise<Answer> => {
    const response = await fetch(`${url}/api/v1/runner${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as Answer['body'] };
  };
  return {
    async lease(waitSeconds = 0, offer = {}) {
      const { status, body } = await post('/lease', { runner: { ...OFFER, ...offer }, waitSeconds });
      return status === 200 ? (body as unknown as { lease: Lease }).lease : null;
    },
    heartbeat: (lease, log, logOffset = 0) =>
      post(`/executions/${lease.executionId}/heartbeat`, {
        token: lease.token,
        logOffset,
        ...(log === undefined ? {} : { log }),
      }),
    complete: (lease, result) => post(`/executions/${lease.executionId}/complete`, { token: lease.token, result }),
  };
}

/** Puts files into the store as the output of a job would be. */
export async function storeFiles(dataDir: string, files: Record<string, string>) {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-output-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    const repo = await openRepo(join(dataDir, 'store'));
    return await withTransaction(repo, (tx) => writeFolder(tx, folder, { canonicalPermissions: true }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What a job of a test makes: for each output its files, or the exit code that it fails with. */
export type Work = (job: JobSpec) => Record<string, Record<string, string>> | number;

/**
 * Runs jobs until `signal` aborts: the outputs are what `work` says, by default one file that tells what went in.
 * Returns the jobs it completed, `project/job`, in order.
 */
export async function serveJobs(
  o: { url: string; token: string; dataDir: string; signal: AbortSignal },
  work: Work = echo,
): Promise<string[]> {
  const client = runnerClient(o.url, o.token);
  const done: string[] = [];
  while (!o.signal.aborted) {
    let lease: Lease | null;
    try {
      lease = await client.lease(1);
    } catch {
      await setTimeout(20);
      continue;
    }
    if (!lease) continue;
    const made = work(lease.job);
    let result: JobResult;
    if (typeof made === 'number') {
      result = { status: 'failed', reason: 'exit', exitCode: made, message: `exit code ${made}` };
    } else {
      const outputs: Record<string, { contents: string; meta: string }> = {};
      for (const [name, files] of Object.entries(made)) outputs[name] = await storeFiles(o.dataDir, files);
      result = { status: 'passed', outputs };
    }
    await client.heartbeat(lease, `running ${lease.job.project}/${lease.job.job}\n`);
    const answer = await client.complete(lease, result);
    if (answer.status === 200) done.push(`${lease.job.project}/${lease.job.job}`);
  }
  return done;
}

function echo(job: JobSpec): Record<string, Record<string, string>> {
  const text = JSON.stringify([job.command, job.source, job.inputs, job.environment]);
  return Object.fromEntries(job.outputs.map(({ name }) => [name, { [`${name}.txt`]: `${text}\n` }]));
}
