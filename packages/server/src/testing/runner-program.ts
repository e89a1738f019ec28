/** Program: an embedded runner without a sandbox, for tests. Does what `treeline runner` does, but runs no commands. */
import { dirname } from 'node:path';
import { serveJobs } from './runner.ts';

const { TREELINE_SERVER = '', TREELINE_RUNNER_TOKEN = '', TREELINE_STORE = '' } = process.env;
// Like the real one it does not outlive its server.
process.on('disconnect', () => process.exit(1));
process.on('SIGTERM', () => process.exit(0));
await serveJobs({
  url: TREELINE_SERVER,
  token: TREELINE_RUNNER_TOKEN,
  dataDir: dirname(TREELINE_STORE),
  signal: new AbortController().signal,
});
