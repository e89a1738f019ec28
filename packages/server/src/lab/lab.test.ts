import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import type { BoardView, Lease } from '@treeline/runner';
import type { RunDetail } from '../api/schema.ts';
import { createGitRepository } from '../testing/git-repository.ts';
import { runnerClient, storeFiles } from '../testing/runner.ts';
import { scratch } from '../testing/scratch.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';

const run = promisify(execFile);

const PIPELINE = `jobs:
  system: { run: make, outputs: [system] }
  try: { board: rig, system: system, faults: [power-cut] }
publish: [{ artifact: system, channel: robot/stable, after: [try] }]
`;

/** A project whose system is made, so that its board job is what is next. */
async function setUp(t: TestContext) {
  const git = createGitRepository(join(scratch(t), 'git'));
  git.commit('first', { 'treeline.yaml': PIPELINE, version: '1' });
  const server = await startTestServer(t);
  await server.addProject('p', git.path);
  const runner = runnerClient(server.url, server.runnerToken);
  const start = async () => (await server.post<RunDetail>('/projects/p/run')).id;
  /** Makes the system of these files, which is all that a runner without boards gets. */
  const makeSystem = async (files: Record<string, string>) => {
    const lease = await runner.lease(10);
    assert.equal(lease?.job.job, 'system');
    await runner.complete(lease, { status: 'passed', outputs: { system: await storeFiles(server.dataDir, files) } });
  };
  const leaseBoard = async () => {
    const lease = await runner.lease(10, { boards: ['rig'] });
    assert.ok(lease?.job.board, 'a board job is leased');
    return lease;
  };
  const look = async (lease: Lease, target?: string) => {
    const response = await fetch(`${server.url}/api/v1/runner/executions/${lease.executionId}/board`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.runnerToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({ token: lease.token, ...(target ? { target } : {}) }),
    });
    return { status: response.status, body: (await response.json()) as BoardView };
  };
  return { git, server, runner, start, makeSystem, leaseBoard, look };
}

/** A board, as openssl and https see it. */
async function enrolled(t: TestContext, lease: Lease, id = lease.job.board!.device.id) {
  const { gateway, token } = lease.job.board!.device;
  const key = join(scratch(t), 'key');
  await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', key]);
  const { stdout: csr } = await run('openssl', ['req', '-new', '-key', key, '-subj', '/CN=x']);
  const call = (
    method: string,
    path: string,
    o: { body?: unknown; tls?: { key: string; cert: string }; headers?: Record<string, string> } = {},
  ) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      // The gateway's authority is checked by the agent's own tests.
      const options = { method, rejectUnauthorized: false, ...o.tls, headers: o.headers ?? {}, agent: false as const };
      const sent = request(new URL(path, gateway), options, (response) => {
        let text = '';
        response.on('data', (chunk) => (text += String(chunk)));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      sent.on('error', reject);
      sent.end(o.body === undefined ? undefined : JSON.stringify(o.body));
    });
  const answer = await call('POST', '/enroll', { body: { token, id, csr } });
  if (answer.status !== 200) return { answer, call: null };
  const tls = {
    key: await readFile(key, 'utf8'),
    cert: (JSON.parse(answer.text) as { certificate: string }).certificate,
  };
  return {
    answer,
    call: (method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
      call(method, path, { body, tls, ...(headers ? { headers } : {}) }),
  };
}

async function jobOf(server: TestServer, id: string) {
  const { jobs } = await server.get<RunDetail>(`/runs/${id}`);
  return jobs.find((job) => job.id === 'p/try')!;
}

describe('the device of a board job', { timeout: 120_000 }, () => {
  test('is made with the lease, gets only what the job is about, is pointed, and is gone with it', async (t) => {
    const { server, runner, start, makeSystem, leaseBoard, look } = await setUp(t);
    const id = await start();
    await makeSystem({ 'usr/bin/app': 'one' });
    assert.equal(await runner.lease(1), null, 'a runner without the board does not get it');
    assert.match((await jobOf(server, id)).waits ?? '', /no runner has the board rig/);

    const lease = await leaseBoard();
    const { system, over, device } = lease.job.board!;
    assert.equal(over, null);
    assert.equal((await look(lease)).body.device, null, 'it has not enrolled yet');
    assert.equal((await enrolled(t, lease, 'robot-1')).answer.status, 401, 'its token lets nobody else in');
    const { call } = await enrolled(t, lease);
    assert.ok(call);
    assert.equal((await call('GET', '/ostree/refs/heads/anything')).text.trim(), system);
    assert.equal((await call('GET', '/ostree/config')).text, '[core]\nrepo_version=1\nmode=archive-z2\n');
    const object = (checksum: string, kind: string) =>
      `/ostree/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}.${kind}`;
    assert.equal((await call('GET', object(system, 'commit'))).status, 200);
    const secret = await storeFiles(server.dataDir, { secret: 'x' });
    assert.equal(
      (await call('GET', object(secret.contents, 'dirtree'))).status,
      404,
      'the store has more than it may see',
    );
    assert.equal((await call('GET', '/ostree/refs/heads/../../results')).status, 404);

    await call('PUT', '/device/state', { state: 'good', release: system }, { 'x-ats-ostreehash': system });
    const seen = (await look(lease)).body;
    assert.equal(seen.device?.state, 'good');
    assert.equal(seen.device?.current, system);
    assert.ok(seen.sent.requests >= 1 && seen.sent.bytes > 0);
    assert.equal((await look(lease, 'f'.repeat(64))).status, 409, 'only what the job is about');
    assert.deepEqual((await server.get<{ devices: unknown[] }>('/devices')).devices, [], 'it is not of the fleet');
    assert.equal((await server.get<{ devices: unknown[] }>('/devices?lab=1')).devices.length, 1);

    const report = await storeFiles(server.dataDir, { 'report.json': '{}' });
    assert.equal((await runner.complete(lease, { status: 'passed', outputs: { 'try-report': report } })).status, 200);
    assert.equal((await look(lease)).status, 409);
    assert.equal((await server.get<{ devices: unknown[] }>('/devices?lab=1')).devices.length, 0);
    assert.equal((await call('GET', object(system, 'commit'))).status, 403, 'its certificate is good for nothing now');
    assert.equal((await server.get<{ devices: unknown[] }>('/devices?lab=1')).devices.length, 0);
    const ended = await server.runEnd(id);
    assert.equal(ended.state, 'passed', 'the release waited for the board, and went out');
    assert.equal((await enrolled(t, lease, device.id)).answer.status, 401, 'nor is its token');
  });

  test('is tried over what the channel has released; a loss is tried again, a bad system is not, nor cached', async (t) => {
    const { git, server, runner, start, makeSystem, leaseBoard, look } = await setUp(t);
    const first = await start();
    await makeSystem({ 'usr/bin/app': 'one' });
    const passed = await leaseBoard();
    const report = await storeFiles(server.dataDir, { 'report.json': '{}' });
    await runner.complete(passed, { status: 'passed', outputs: { 'try-report': report } });
    assert.equal((await server.runEnd(first)).state, 'passed');

    git.commit('second', { version: '2' });
    const second = await start();
    await makeSystem({ 'usr/bin/app': 'two' });
    const lost = await leaseBoard();
    assert.equal(lost.job.board?.over, passed.job.board?.system);
    assert.equal((await look(lost)).body.target, lost.job.board?.over, 'the board begins with what production runs');
    assert.equal(await runner.lease(0, { boards: ['rig'] }), null);
    await runner.complete(lost, { status: 'infrastructure', message: 'the relay is on fire' });
    const again = await leaseBoard();
    assert.notEqual(again.job.board?.device.id, lost.job.board?.device.id, 'a lease has a device of its own');
    assert.equal((await look(lost)).status, 409);
    await look(again, again.job.board!.system);
    assert.equal((await look(again)).body.target, again.job.board?.system);
    await runner.complete(again, {
      status: 'failed',
      reason: 'board',
      message: 'bad (forward): it did not prove good',
    });
    assert.equal((await server.runEnd(second)).state, 'failed');
    assert.equal((await jobOf(server, second)).failure?.reason, 'board');
    const third = await start();
    const retried = await leaseBoard();
    assert.equal(retried.job.key, again.job.key, 'a failure is not cached');
    await runner.complete(retried, { status: 'failed', reason: 'board', message: 'again' });
    await server.runEnd(third);
  });
});
