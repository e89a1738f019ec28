import { setTimeout as sleep } from 'node:timers/promises';
import type { DeviceDetail, RunDetail } from '@treeline/server';
import type { TreelineServer } from '../testing/treeline-server.ts';

/** What the whole-system run asks the server. */
export class Api {
  readonly #server: TreelineServer;

  constructor(server: TreelineServer) {
    this.#server = server;
  }

  /** Runs the project at its newest commit until its release is out; answers the commit that was published. */
  async release(project: string): Promise<{ commit: string; run: RunDetail }> {
    const { id } = await this.#server.post<{ id: string }>(`/projects/${project}/run`, {});
    for (;;) {
      const run = await this.#server.get<RunDetail>(`/runs/${id}`);
      if (run.state === 'running') {
        await sleep(250);
        continue;
      }
      const output = run.jobs.flatMap((job) => job.outputs).find(({ artifact }) => artifact.endsWith('system'));
      if (run.state === 'passed' && output) return { commit: output.commit, run };
      const failed = run.jobs.find((job) => job.state === 'failed');
      const why = failed?.failure?.message ?? JSON.stringify(run.error ?? run.publishes);
      throw new Error(`the run is ${run.state}: ${failed?.id} ${why}\n${await this.#log(failed?.executionId)}`);
    }
  }

  async #log(execution: string | null | undefined): Promise<string> {
    if (!execution) return '';
    const headers = { authorization: `Bearer ${this.#server.token}` };
    const response = await fetch(`${this.#server.url}/api/v1/executions/${execution}/log`, { headers });
    return (await response.text()).split('\n').slice(-40).join('\n');
  }

  /** null: it has not enrolled yet. */
  async device(id: string): Promise<DeviceDetail | null> {
    return await this.#server.get<DeviceDetail>(`/devices/${id}`).catch(() => null);
  }
}
