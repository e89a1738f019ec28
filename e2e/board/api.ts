import { setTimeout as sleep } from 'node:timers/promises';
import { lastLines } from '@treeline/board';
import type { DeviceDetail, RunDetail } from '@treeline/server';
import type { TreelineServer } from '../testing/treeline-server.ts';

/** What the whole-system run asks the server. */
export class Api {
  readonly #server: TreelineServer;

  constructor(server: TreelineServer) {
    this.#server = server;
  }

  /** Runs the project at its newest commit until the run has ended and what it publishes is out; however it ends. */
  async run(project: string): Promise<RunDetail> {
    const { id } = await this.#server.post<{ id: string }>(`/projects/${project}/run`, {});
    for (;;) {
      const run = await this.#server.get<RunDetail>(`/runs/${id}`);
      if (run.state !== 'running') return run;
      await sleep(250);
    }
  }

  /** Runs the project at its newest commit until its release is out; answers the commit that was published. */
  async release(project: string): Promise<{ commit: string; run: RunDetail }> {
    const run = await this.run(project);
    const output = run.jobs.flatMap((job) => job.outputs).find(({ artifact }) => artifact.endsWith('system'));
    if (run.state === 'passed' && output) return { commit: output.commit, run };
    const failed = run.jobs.find((job) => job.state === 'failed');
    const why = failed?.failure?.message ?? JSON.stringify(run.error ?? run.publishes);
    const log = failed?.executionId ? lastLines(await this.log(failed.executionId), 40) : '';
    throw new Error(`the run is ${run.state}: ${failed?.id} ${why}\n${log}`);
  }

  async log(execution: string): Promise<string> {
    const headers = { authorization: `Bearer ${this.#server.token}` };
    const response = await fetch(`${this.#server.url}/api/v1/executions/${execution}/log`, { headers });
    return await response.text();
  }

  /** null: it has not enrolled yet. */
  async device(id: string): Promise<DeviceDetail | null> {
    return await this.#server.get<DeviceDetail>(`/devices/${id}`).catch(() => null);
  }
}
