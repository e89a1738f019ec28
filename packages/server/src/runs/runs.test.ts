import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { until } from '@treeline/ostree/testing/until.ts';
import type { Artifact, CommitInfo, Diff, Job, Release, Run, RunDetail, Runner, Status } from '../api/schema.ts';
import type { SettingsFragment } from '../settings.ts';
import { describeDatabases } from '../testing/databases.ts';
import { createGitRepository, type GitRepository } from '../testing/git-repository.ts';
import { runnerClient, serveJobs, storeFiles, type Work } from '../testing/runner.ts';
import { scratch } from '../testing/scratch.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';

const run = promisify(execFile);

const APP = `
image: host
jobs:
  lint:
    paths: ["*.py"]
    run: python3 -m compileall .
  package:
    needs: [lint]
    paths: [app.py]
    run: cp app.py "$OUT/"
    outputs: { package: . }
`;
const SYSTEM = `
image: host
jobs:
  base:
    paths: []
    run: make-base
    outputs: { base: . }
  system:
    compose:
      - tree: base
      - tree: app/package
        at: /usr/lib/app
      - source: config
        at: /usr/etc
    output: system
  check:
    paths: []
    inputs: { system: system }
    run: test -e /in/system
publish:
  - artifact: system
    channel: robot/edge
    after: [check]
`;

interface Line {
  server: TestServer;
  app: GitRepository;
  system: GitRepository;
  folder: string;
  /** Executes jobs until the end of the test. */
  work: (what?: Work) => Promise<string[]>;
}

async function line(t: TestContext, fragment: SettingsFragment = {}): Promise<Line> {
  const folder = scratch(t);
  const app = createGitRepository(`${folder}/app`);
  app.commit('Drive', { 'treeline.yaml': APP, 'app.py': 'drive()\n', 'README.md': 'hello\n' });
  const system = createGitRepository(`${folder}/system`);
  system.commit('Compose', { 'treeline.yaml': SYSTEM, 'config/speed.conf': 'speed=1\n' });
  const server = await startTestServer(t, fragment);
  await server.addProject('app', app.path);
  await server.addProject('system', system.path);
  const stop = new AbortController();
  const working: Promise<string[]>[] = [];
  t.after(() => stop.abort());
  return {
    server,
    app,
    system,
    folder,
    work(what) {
      const jobs = serveJobs(
        { url: server.url, token: server.runnerToken, dataDir: server.dataDir, signal: stop.signal },
        what,
      );
      working.push(jobs);
      return jobs;
    },
  };
}

const states = (run: RunDetail) =>
  Object.fromEntries(run.jobs.map((job) => [job.id, job.reused ? 'reused' : job.state]));
const job = (run: RunDetail, id: string): Job => run.jobs.find((one) => one.id === id)!;

describeDatabases('the line', (fresh) => {
  test('a run goes from revisions to a release that a stock ostree client pulls', async (t) => {
    const { server, app, folder, work } = await line(t, { database: await fresh() });
    void work();
    const first = await server.runEnd((await server.post<Run>('/runs', { reason: 'first' })).id);
    assert.equal(first.state, 'passed', JSON.stringify(first, null, 1));
    assert.deepEqual(states(first), {
      'app/lint': 'passed',
      'app/package': 'passed',
      'system/base': 'passed',
      'system/check': 'passed',
      'system/system': 'passed',
    });
    const publish = first.publishes[0]!;
    assert.equal(publish.state, 'published');

    await run('ostree', ['init', '--repo', `${folder}/client`, '--mode', 'bare-user-only']);
    await run('ostree', [
      'remote',
      'add',
      '--repo',
      `${folder}/client`,
      '--no-gpg-verify',
      'line',
      `${server.url}/repos/public`,
    ]);
    await run('ostree', ['pull', '--repo', `${folder}/client`, 'line', 'robot/edge']);
    const { stdout: pulled } = await run('ostree', ['rev-parse', '--repo', `${folder}/client`, 'line:robot/edge']);
    assert.equal(pulled.trim(), publish.commit);
    const { stdout: files } = await run('ostree', [
      'ls',
      '-R',
      '--nul-filenames-only',
      '--repo',
      `${folder}/client`,
      publish.commit!,
    ]);
    assert.ok(files.split('\0').includes('/usr/lib/app/package.txt'));
    assert.ok(files.split('\0').includes('/usr/etc/speed.conf'));
    for (const repo of ['repos/public', 'store']) {
      await run('ostree', ['fsck', '--quiet', '--repo', join(server.dataDir, repo)]);
    }

    const info = await server.get<CommitInfo>('/commits/public:robot%2Fedge');
    assert.equal(info.commit, publish.commit);
    assert.deepEqual(info.channels, ['public:robot/edge']);
    assert.deepEqual(
      info.provenance?.sources.map((source) => [source.project, source.subject]),
      [
        ['app', 'Drive'],
        ['system', 'Compose'],
      ],
    );
    assert.equal(info.provenance?.sources[0]?.revision, app.git('rev-parse', 'HEAD'));
    assert.deepEqual(info.provenance?.inputs.map((input) => input.name).sort(), ['app/package', 'system/base']);

    const status = await server.get<Status>('/status');
    assert.deepEqual(
      [status.projects, status.runs, status.executions],
      [2, { running: 0, total: 1 }, { queued: 0, leased: 0 }],
    );
    assert.equal(status.channels[0]?.commit, publish.commit);
    const { artifacts } = await server.get<{ artifacts: Artifact[] }>('/artifacts?project=system&artifact=system');
    assert.deepEqual(
      artifacts.map((artifact) => artifact.commit),
      [publish.commit],
    );
    const { runners } = await server.get<{ runners: Runner[] }>('/runners');
    assert.deepEqual(
      runners.map((runner) => [runner.name, runner.online, runner.embedded]),
      [['test-runner', true, false]],
    );
  });

  test('a push runs only what depends on it, says what was reused and why not, and makes the smallest release', async (t) => {
    const { server, app, work } = await line(t, { database: await fresh() });
    const done = work();
    const first = await server.runEnd((await server.post<Run>('/runs')).id);
    app.commit('Steer', { 'app.py': 'steer()\n' });
    const second = await server.runEnd((await server.post<Run>('/projects/app/run')).id);
    assert.deepEqual(second.trigger, { project: 'app', branch: 'main', revision: app.git('rev-parse', 'HEAD') });
    assert.match(second.reason, /push to app: Steer/);
    assert.deepEqual(states(second), {
      'app/lint': 'passed',
      'app/package': 'passed',
      'system/base': 'reused',
      'system/check': 'passed',
      'system/system': 'passed',
    });
    assert.deepEqual(
      job(second, 'app/package').why.map((difference) => difference.field),
      ['source'],
    );
    assert.deepEqual(
      job(second, 'system/check').why.map((difference) => difference.field),
      ['inputs.system'],
    );
    assert.deepEqual(job(second, 'system/base').why, []);
    assert.equal(job(second, 'system/base').executionId, job(first, 'system/base').executionId);

    const { releases } = await server.get<{ releases: Release[] }>('/releases?channel=robot/edge');
    assert.deepEqual(
      releases.map((release) => [release.state, release.current]),
      [
        ['published', true],
        ['published', false],
      ],
    );
    assert.equal(releases[0]?.previous, releases[1]?.commit);
    const diff = await server.get<Diff>(`/diff?from=${releases[1]?.commit}&to=${releases[0]?.commit}`);
    assert.deepEqual(
      diff.changes.map(({ kind, path, differs }) => [kind, path, ...differs]),
      [['modified', '/usr/lib/app/package.txt', 'content']],
    );
    const [change] = diff.changes;
    assert.ok(change!.download > 0 && change!.download < diff.download.bytes, JSON.stringify(diff));
    assert.deepEqual([change!.after?.type, typeof change!.after?.uid], ['file', 'number']);

    // Nothing that a job sees changed: everything is reused, and the channel stays as it is.
    app.commit('Say more', { 'README.md': 'hello world\n' });
    const third = await server.runEnd((await server.post<Run>('/projects/app/run')).id);
    assert.equal(third.state, 'passed');
    assert.ok(third.jobs.every((one) => one.reused));
    assert.equal(third.publishes[0]?.commit, releases[0]?.commit);
    assert.equal((await server.get<{ releases: Release[] }>('/releases')).releases.length, 2);
    void done;
  });
});

test('a failing job fails what depends on it, nothing is published, and it is tried again next time', async (t) => {
  const { server, work } = await line(t);
  let broken = true;
  void work((spec) => {
    if (spec.job === 'package' && broken) return 3;
    return Object.fromEntries(spec.outputs.map(({ name }) => [name, { [name]: spec.command }]));
  });
  const first = await server.runEnd((await server.post<Run>('/runs')).id);
  assert.equal(first.state, 'failed');
  assert.deepEqual(job(first, 'app/package').failure, { reason: 'exit', message: 'exit code 3', exitCode: 3 });
  assert.equal(job(first, 'system/system').state, 'skipped');
  assert.deepEqual(job(first, 'system/system').blockedOn, ['app/package']);
  assert.equal(first.publishes[0]?.state, 'impossible');
  assert.deepEqual((await server.get<{ releases: Release[] }>('/releases')).releases, []);
  broken = false;
  const second = await server.runEnd((await server.post<Run>('/runs')).id);
  assert.equal(second.state, 'passed');
  assert.equal(job(second, 'app/lint').reused, true);
  assert.match(job(second, 'app/package').why[0]?.message ?? '', /failures are not reused/);
});

test('a broken treeline.yaml fails its run with line and column, and disturbs nothing else', async (t) => {
  const { server, app, work } = await line(t);
  const older = await server.post<Run>('/runs');
  app.commit('Break', { 'treeline.yaml': 'jobs:\n  package:\n    rnu: x\n' });
  const broken = await server.runEnd((await server.post<Run>('/projects/app/run')).id);
  assert.equal(broken.state, 'failed');
  const diagnostic = broken.error!.diagnostics.find((one) => /rnu/.test(one.message + (one.hint ?? '')))!;
  assert.deepEqual([diagnostic.project, diagnostic.file, diagnostic.line], ['app', 'treeline.yaml', 3]);
  void work();
  assert.equal((await server.runEnd(older.id)).state, 'passed');
  app.commit('Remove', { 'treeline.yaml': null });
  const without = await server.runEnd((await server.post<Run>('/projects/app/run')).id);
  assert.match(without.error!.diagnostics[0]!.message, /has no treeline.yaml/);
});

test('runs that want the same key at the same time share one execution', async (t) => {
  const { server, work } = await line(t);
  const [one, two] = [await server.post<Run>('/runs'), await server.post<Run>('/runs')];
  const executed = work();
  const [a, b] = [await server.runEnd(one.id), await server.runEnd(two.id)];
  assert.deepEqual([a.state, b.state], ['passed', 'passed']);
  for (const { id } of a.jobs) assert.equal(job(a, id).executionId, job(b, id).executionId, id);
  await server.close();
  const jobs = await Promise.race([executed, new Promise<string[]>((resolve) => setTimeout(resolve, 100, []))]);
  assert.equal(new Set(jobs).size, jobs.length);
});

test('cancelling a run stops what no other run wants, and only that', async (t) => {
  const { server } = await line(t);
  const one = await server.post<Run>('/runs');
  const client = runnerClient(server.url, server.runnerToken);
  const lease = (await client.lease(30))!;
  const two = await server.post<Run>('/runs');
  const isPlanned = async () => (await server.get<RunDetail>(`/runs/${two.id}`)).counts.total > 0;
  await until(isPlanned, 'the jobs of the second run');
  await server.post(`/runs/${one.id}/cancel`);
  assert.equal((await client.heartbeat(lease)).body.cancel, false);
  await server.post(`/runs/${two.id}/cancel`);
  assert.equal((await client.heartbeat(lease)).body.cancel, true);
  const answer = await client.complete(lease, { status: 'failed', reason: 'killed', message: 'cancelled' });
  assert.equal(answer.status, 200);
  assert.equal((await server.get<RunDetail>(`/runs/${two.id}`)).state, 'cancelled');
  assert.equal(await client.lease(0), null);
});

test('a newer push supersedes what older runs of the branch have not started; what runs goes on and is reused', async (t) => {
  const { server, app, work } = await line(t);
  app.commit('Two', { 'app.py': 'two()\n' });
  const older = await server.post<Run>('/projects/app/run');
  const client = runnerClient(server.url, server.runnerToken);
  const leases = [(await client.lease(30))!, (await client.lease(30))!];
  const base = leases.find((lease) => lease.job.job === 'base')!;
  const lint = leases.find((lease) => lease.job.job === 'lint')!;
  app.commit('Three', { 'app.py': 'three()\n' });
  const newer = await server.post<Run>('/projects/app/run');
  const superseded = await server.runEnd(older.id);
  assert.equal(superseded.state, 'superseded');
  assert.equal(job(superseded, 'app/package').state, 'cancelled');
  assert.match(job(superseded, 'app/package').failure?.message ?? '', new RegExp(newer.id));
  assert.equal(job(superseded, 'system/base').state, 'running');
  assert.equal((await client.heartbeat(lint)).body.cancel, false);
  const tree = await storeFiles(server.dataDir, { base: 'x' });
  assert.equal((await client.complete(base, { status: 'passed', outputs: { base: tree } })).status, 200);
  assert.equal((await client.complete(lint, { status: 'passed', outputs: {} })).status, 200);
  void work();
  const end = await server.runEnd(newer.id);
  assert.equal(end.state, 'passed');
  assert.equal(job(end, 'system/base').executionId, base.executionId);
  assert.equal(job(await server.runEnd(older.id), 'system/base').state, 'passed');
});

test('a waiting job says why', async (t) => {
  const { server, app } = await line(t);
  app.commit('GPU', { 'treeline.yaml': APP.replace('    paths: ["*.py"]', '    runs-on: { gpu: true }') });
  const { id } = await server.post<Run>('/projects/app/run');
  const waits = async () => {
    const detail = await server.get<RunDetail>(`/runs/${id}`);
    return detail.counts.total === 0 ? null : job(detail, 'app/lint').waits;
  };
  await until(async () => (await waits()) !== null, 'the jobs of the run');
  assert.equal(await waits(), 'no runner is connected');
  const client = runnerClient(server.url, server.runnerToken);
  const lease = await client.lease(30);
  assert.notEqual(lease?.job.job, 'lint');
  assert.match((await waits()) ?? '', /test-runner: .*GPU/);
});

test('the log of a job can be followed while it runs, and read afterwards', async (t) => {
  const { server } = await line(t);
  await server.post<Run>('/runs');
  const client = runnerClient(server.url, server.runnerToken);
  const lease = (await client.lease(30))!;
  await client.heartbeat(lease, 'one\n', 0);
  const path = `${server.url}/api/v1/executions/${lease.executionId}/log`;
  const headers = { authorization: `Bearer ${server.adminToken}` };
  const following = fetch(`${path}?follow=1`, { headers }).then((response) => response.text());
  await client.heartbeat(lease, 'two\n', 4);
  await client.complete(lease, { status: 'failed', reason: 'exit', exitCode: 1, message: 'no' });
  assert.equal(await following, 'one\ntwo\n');
  const now = await fetch(`${path}?offset=4`, { headers });
  assert.match(now.headers.get('content-type') ?? '', /text\/plain/);
  assert.equal(await now.text(), 'two\n');
});
