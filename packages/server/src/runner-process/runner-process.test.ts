import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { z } from 'zod';
import type { RunDetail, RunnerList } from '../api/schema.ts';
import { createGitRepository } from '../testing/git-repository.ts';
import { scratch } from '../testing/scratch.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';

type Runners = z.infer<typeof RunnerList>;

async function until<T>(look: () => Promise<T>, enough: (value: T) => boolean): Promise<T> {
  for (let looks = 0; ; looks += 1) {
    const value = await look();
    if (enough(value)) return value;
    assert.ok(looks < 3000, `it did not come: ${JSON.stringify(value)}`);
    await setTimeout(20);
  }
}
const runners = (server: TestServer) => server.get<Runners>('/runners');

/** A runner program that leases one job and then does what `then` says. */
function program(path: string, then: string): string {
  writeFileSync(
    path,
    `import { runnerClient } from ${JSON.stringify(new URL('../testing/runner.ts', import.meta.url).href)};
    process.on('SIGTERM', () => process.exit(0));
    const client = runnerClient(process.env.TREELINE_SERVER, process.env.TREELINE_RUNNER_TOKEN);
    for (;;) { const lease = await client.lease(5); if (lease) { ${then} } }`,
  );
  return path;
}

test('the runner is started, and started again when it dies; the lost lease counts at once', async (t) => {
  const folder = scratch(t);
  const app = createGitRepository(`${folder}/app`);
  app.commit('one', { 'treeline.yaml': 'image: host\njobs:\n  test: { run: x }\n' });
  const runnerProgram = program(`${folder}/runner.mts`, 'process.kill(process.pid, "SIGKILL");');
  const server = await startTestServer(t, { runner: true, runnerProgram, maxAttempts: 2 });
  await server.addProject('app', app.path);
  const { id } = await server.post<RunDetail>('/runs');
  const end = await server.runEnd(id);
  assert.equal(end.state, 'failed');
  const { failure } = end.jobs[0]!;
  assert.equal(failure?.reason, 'infrastructure');
  assert.match(failure?.message ?? '', /signal SIGKILL.*after 2 attempts/);
  assert.equal((await runners(server)).runners[0]?.embedded, true);
});

test('a runner that cannot start is tried again, and the server says what is wrong with it', async (t) => {
  const folder = scratch(t);
  writeFileSync(`${folder}/bad.mts`, 'console.error("bubblewrap is not installed"); process.exit(3);');
  const server = await startTestServer(t, { runner: true, runnerProgram: `${folder}/bad.mts` });
  const { embedded } = await until(
    () => runners(server),
    (list) => list.embedded.problem !== null,
  );
  assert.match(embedded.problem ?? '', /exit code 3[\s\S]*bubblewrap is not installed/);
});

test('the runner sees no secret of the server, and its token is no other', async (t) => {
  const folder = scratch(t);
  const file = `${folder}/env.json`;
  writeFileSync(
    `${folder}/env.mts`,
    `import { writeFileSync } from 'node:fs';
    writeFileSync(${JSON.stringify(file)}, JSON.stringify(process.env)); setInterval(() => {}, 1000);`,
  );
  process.env.TREELINE_DATABASE = 'postgres://user:geheim@host/x';
  t.after(() => delete process.env.TREELINE_DATABASE);
  const server = await startTestServer(t, { runner: true, runnerProgram: `${folder}/env.mts`, emulate: ['gpu'] });
  const { readFile } = await import('node:fs/promises');
  const text = await until(
    () => readFile(file, 'utf8').catch(() => ''),
    (found) => found.endsWith('}'),
  );
  const environment = JSON.parse(text) as Record<string, string>;
  assert.ok(!text.includes('geheim') && !text.includes(server.adminToken) && !text.includes(server.runnerToken));
  assert.equal(environment.TREELINE_SERVER, server.url);
  assert.equal(environment.TREELINE_EMULATE, 'gpu');
  const before = Date.now();
  await server.close();
  assert.ok(Date.now() - before < 4000, 'the runner held up the end of the server');
  assert.throws(() => process.kill(Number(environment.PID ?? 2 ** 22), 0));
});

test('without a runner nothing is started', async (t) => {
  const server = await startTestServer(t);
  assert.deepEqual((await runners(server)).embedded, { enabled: false, pid: null, problem: null });
});
