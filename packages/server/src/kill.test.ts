import assert from 'node:assert/strict';
import { type ChildProcess, execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { until } from '@treeline/ostree/testing/until.ts';
import type { Project, Release, Run, RunDetail } from './api/schema.ts';
import { openDatabase } from './database/open.ts';
import type { RunningServer } from './server.ts';
import type { SettingsFragment } from './settings.ts';
import { createGitRepository } from './testing/git-repository.ts';
import { scratch } from './testing/scratch.ts';
import { connect, type TestServer } from './testing/server.ts';

const run = promisify(execFile);

const APP = `
image: host
jobs:
  test: { paths: [app.py], run: test }
  package: { paths: [app.py], needs: [test], run: make, outputs: { package: . } }
  docs: { paths: [], run: docs, outputs: { docs: . } }
  system:
    compose: [{ tree: package, at: /app }, { tree: docs, at: /docs }]
    output: system
publish:
  - { artifact: system, channel: robot/edge }
`;

async function startProcess(
  t: TestContext,
  settings: SettingsFragment,
): Promise<{ child: ChildProcess; api: TestServer }> {
  const child = fork(new URL('./testing/server-process.ts', import.meta.url).pathname, [JSON.stringify(settings)], {
    // Eleven processes that compile the same files each time would take most of the test's time.
    env: { ...process.env, NODE_COMPILE_CACHE: `${settings.dataDir}-compile-cache` },
  });
  t.after(() => child.kill('SIGKILL'));
  const first = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  assert.equal(typeof first[0], 'object', 'the server did not start');
  return { child, api: connect(first[0] as RunningServer, settings.dataDir!) };
}

async function kill(child: ChildProcess): Promise<void> {
  assert.equal(child.exitCode, null, 'the server has ended by itself');
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

test('kill -9 of the server at random moments: nothing is lost, nothing is made twice', async (t) => {
  const folder = scratch(t);
  const app = createGitRepository(`${folder}/app`);
  app.commit('0', { 'treeline.yaml': APP, 'app.py': '0' });
  const settings: SettingsFragment = {
    dataDir: `${folder}/data`,
    port: 0,
    gatewayPort: 0,
    pollSeconds: 0.1,
    logLevel: 'silent',
    hostImage: 'test-host',
    runnerProgram: new URL('./testing/runner-program.ts', import.meta.url).pathname,
  };
  let { child, api } = await startProcess(t, settings);
  await api.post('/projects', { name: 'app', url: app.path });
  for (let life = 1; life <= 5; life += 1) {
    app.commit(String(life), { 'app.py': String(life) });
    await setTimeout(50 + Math.random() * 700);
    await kill(child);
    ({ child, api } = await startProcess(t, settings));
  }

  const head = app.git('rev-parse', 'HEAD');
  let newest: Run | undefined;
  const isDone = async () => {
    const { runs } = await api.get<{ runs: Run[] }>('/runs');
    newest = runs[0];
    return newest?.trigger?.revision === head && runs.every((one) => one.state !== 'running');
  };
  await until(isDone, 'the run of the newest commit');
  const end = await api.get<RunDetail>(`/runs/${newest!.id}`);
  assert.equal(end.state, 'passed', JSON.stringify(end));
  const { projects } = await api.get<{ projects: Project[] }>('/projects');
  assert.equal(projects[0]?.error, null);
  const { releases } = await api.get<{ releases: Release[] }>('/releases');
  assert.deepEqual(
    releases.filter((release) => release.current).map((release) => release.commit),
    [end.publishes[0]?.commit],
  );
  assert.ok(releases.every((release) => release.state !== 'publishing'));
  await kill(child);

  const db = await openDatabase(`sqlite:${settings.dataDir}/treeline.db`);
  t.after(() => db.destroy());
  const executions = await db.selectFrom('executions').selectAll().execute();
  const made = executions.filter((execution) => execution.outcome === 'passed').map((execution) => execution.key);
  assert.equal(new Set(made).size, made.length, 'a key was executed to its end twice');
  assert.deepEqual(new Set(executions.map((execution) => execution.state)), new Set(['done']));
  // The server's own death is not held against the jobs.
  assert.ok(executions.every((execution) => execution.outcome !== 'infrastructure'));
  for (const repo of ['store', 'repos/public']) {
    await run('ostree', ['fsck', '--quiet', '--repo', join(settings.dataDir!, repo)]);
  }
  const { stdout } = await run('ostree', [
    'rev-parse',
    '--repo',
    join(settings.dataDir!, 'repos/public'),
    'robot/edge',
  ]);
  assert.equal(stdout.trim(), end.publishes[0]?.commit);
});
