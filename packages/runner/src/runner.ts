import type { RunnerOptions } from './settings.ts';
import { runnerOptionsFromEnvironment, runnerSettings } from './settings.ts';

/**
 * Runs a runner until it is told to stop (SIGTERM, SIGINT, `signal`, or the end of its parent), then resolves.
 * Rejects with RunnerError when it cannot work at all: `no-sandbox`, `busy`, `unauthorized`, `bad-settings`.
 */
export async function runRunner(options: RunnerOptions = runnerOptionsFromEnvironment()): Promise<void> {
  runnerSettings(options);
}
