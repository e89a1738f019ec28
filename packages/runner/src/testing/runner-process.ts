/** A runner as a process of its own: `node runner-process.ts`, with its settings in the environment. */
import { runRunner } from '../runner.ts';

await runRunner();
