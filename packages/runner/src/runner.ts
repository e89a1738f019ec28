import { openBoards } from './board/boards.ts';
import { openRootFiles, type RootFiles } from './job/root-files.ts';
import { openJobStore } from './job/store.ts';
import { createRunnerClient } from './lease/client.ts';
import { carryOut, ORPHANED } from './lease/execution.ts';
import { leaseLoop } from './lease/loop.ts';
import { machineOffer } from './offer.ts';
import { chooseSandbox } from './sandbox/choose.ts';
import type { RunnerOptions, RunnerSettings } from './settings.ts';
import { runnerOptionsFromEnvironment, runnerSettings } from './settings.ts';
import { openTreeCache } from './trees/cache.ts';
import { removeTree } from './trees/remove.ts';
import { openWorkFolder } from './work-folder.ts';

/**
 * Runs a runner until it is told to stop (SIGTERM, SIGINT, `signal`, or the end of its parent), then kills its jobs,
 * reports them as infrastructure failures and resolves. Rejects with RunnerError when it cannot work at all:
 * `no-sandbox`, `busy`, `unauthorized`, `bad-settings`; with OstreeError when the store is none.
 */
export async function runRunner(options: RunnerOptions = runnerOptionsFromEnvironment()): Promise<void> {
  const settings = runnerSettings(options);
  const stopping = stopSignal(settings);
  try {
    const sandbox = await chooseSandbox(settings.unsandboxed);
    const store = await openJobStore(settings.store);
    const rootFiles = 'lacks' in sandbox.root ? null : openRootFiles(sandbox.root, store);
    const remove = removerOf(rootFiles);
    const folder = await openWorkFolder(settings.workDir, { remove });
    try {
      const { signal } = stopping;
      const trees = await openTreeCache({
        dir: folder.treesDir,
        maxBytes: settings.cacheBytes,
        checkout: (tree, dest, owners) =>
          owners === 'own' && rootFiles
            ? rootFiles.checkout(tree, dest, signal)
            : store.checkout(tree, dest, { signal }),
        remove,
      });
      const { name, labels, emulate, log } = settings;
      const boards = settings.boards.length === 0 ? null : await openBoards(settings.boards);
      const offer = await machineOffer({ name, labels, emulate, sandbox, boards: boards?.names ?? [] });
      const client = createRunnerClient(settings);
      log(`runner ${name} (${offer.arch}, ${offer.cpus} cores, sandbox: ${sandbox.kind}) serves ${settings.server}`);
      const machine = {
        ...{ store, trees, sandbox, rootFiles, jobsDir: folder.jobsDir },
        ...{ boards, storeDir: settings.store },
      };
      await leaseLoop({
        client,
        offer,
        concurrency: settings.concurrency,
        waitSeconds: settings.waitSeconds,
        carryOut: (lease) =>
          carryOut(lease, { client, machine, giveUpSeconds: settings.giveUpSeconds, log, signal: stopping.signal }),
        log,
        signal: stopping.signal,
      });
    } finally {
      folder.unlock();
    }
  } finally {
    stopping.dispose();
  }
}

/** Removes what a job left; what is a root job's, an ordinary user cannot remove itself. */
function removerOf(rootFiles: RootFiles | null): (path: string) => Promise<void> {
  return (path) =>
    removeTree(path).catch(async (error) => {
      if (!rootFiles) throw error;
      await rootFiles.remove(path);
    });
}

const PARENT_POLL_MS = 250;

/** One signal for all that stops a runner. */
function stopSignal(settings: RunnerSettings): { signal: AbortSignal; dispose: () => void } {
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  const orphaned = (): void => controller.abort(ORPHANED);
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // A server that forked this process with a channel, and died, closes the channel.
  process.on('disconnect', orphaned);
  const { parentPid, signal } = settings;
  const parentWatch = setInterval(() => {
    if (parentPid !== undefined && process.ppid !== parentPid) orphaned();
  }, PARENT_POLL_MS);
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  return {
    signal: controller.signal,
    dispose: () => {
      process.off('SIGTERM', stop);
      process.off('SIGINT', stop);
      process.off('disconnect', orphaned);
      clearInterval(parentWatch);
      signal?.removeEventListener('abort', stop);
    },
  };
}
