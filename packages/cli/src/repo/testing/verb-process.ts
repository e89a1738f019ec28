import { main } from '../main.ts';

/** What one run of `treeline repo` gave. */
export interface VerbResult {
  status: number;
  stdout: string;
  stderr: string;
}

export interface VerbRequest {
  args: string[];
  cwd: string;
  env: Record<string, string>;
}

// Forked by tests: runs one command line after the other, since a process for each takes longer than what it does.

process.on('message', (request: VerbRequest) => {
  void run(request).then((result) => process.send!(result));
});

async function run({ args, cwd, env }: VerbRequest): Promise<VerbResult> {
  const written = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  for (const name of ['stdout', 'stderr'] as const) {
    process[name].write = (chunk: string | Uint8Array) => {
      written[name].push(Buffer.from(chunk));
      return true;
    };
  }
  process.chdir(cwd);
  Object.assign(process.env, env);
  const status = await main(args);
  for (const name of Object.keys(env)) delete process.env[name];
  return { status, stdout: Buffer.concat(written.stdout).toString(), stderr: Buffer.concat(written.stderr).toString() };
}
