import { access } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import type { RunnerOffer } from './protocol.ts';
import { RUNNER_PROTOCOL } from './protocol.ts';
import type { Sandbox } from './sandbox/sandbox.ts';

/** Node's names of architectures, as `uname -m` has them. */
const ARCHITECTURES: Record<string, string> = { x64: 'x86_64', arm64: 'aarch64', arm: 'armv7l', ia32: 'i686' };

/** What this machine has to offer to jobs. */
export async function machineOffer(o: {
  name: string;
  labels: string[];
  emulate: string[];
  boards: readonly string[];
  sandbox: Pick<Sandbox, 'kind' | 'root'>;
}): Promise<RunnerOffer> {
  return {
    name: o.name,
    arch: ARCHITECTURES[process.arch] ?? process.arch,
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    gpu: await hasGpu(),
    labels: [...o.labels],
    emulates: [...o.emulate],
    sandbox: o.sandbox.kind,
    lacksForRoot: 'lacks' in o.sandbox.root ? o.sandbox.root.lacks : null,
    protocol: RUNNER_PROTOCOL,
    ...(o.boards.length === 0 ? {} : { boards: [...o.boards] }),
  };
}

/** Device nodes of NVIDIA's driver and of AMD's compute driver. A display adapter alone is no GPU to train on. */
async function hasGpu(): Promise<boolean> {
  for (const device of ['/dev/nvidia0', '/dev/kfd']) {
    const found = await access(device).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}
