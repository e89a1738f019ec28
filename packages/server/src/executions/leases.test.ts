import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { Tree } from '@treeline/ostree';
import type { Core } from '../core.ts';
import { createTestCore } from '../testing/core.ts';
import { describeDatabases } from '../testing/databases.ts';
import { OFFER, storeFiles } from '../testing/runner.ts';
import { createLeases, type Leases } from './leases.ts';
import { createLogFiles } from './log-files.ts';
import { dropUnwanted, wantExecution } from './queue.ts';
import type { ExecutionSpec } from './spec.ts';

const keyOf = (name: string) => createHash('sha256').update(name).digest('hex');

function specFor(name: string, outputs: string[] = []): ExecutionSpec {
  const key = keyOf(name);
  return {
    project: 'app',
    job: name,
    run: 'run-1',
    key,
    work: {
      kind: 'command',
      platform: { arch: OFFER.arch, gpu: false, labels: [], emulated: [] },
      job: {
        project: 'app',
        job: name,
        run: 'run-1',
        key,
        image: { host: true },
        source: null,
        inputs: [],
        command: 'true',
        environment: {},
        network: false,
        timeoutSeconds: 60,
        diskBytes: 1024,
        outputs: outputs.map((output) => ({ name: output, path: '.' })),
      },
    },
    outputs,
    inputs: [],
    sources: [],
  };
}

/** Queues an execution that a job of a run waits for. */
async function want(core: Core, spec: ExecutionSpec, run = 1): Promise<string> {
  return await core.db.transaction().execute(async (trx) => {
    const id = `run-${run}`;
    await trx
      .insertInto('runs')
      .values({
        id,
        number: run,
        state: 'running',
        reason: 'test',
        trigger_project: null,
        trigger_branch: null,
        trigger_revision: null,
        error: null,
        created_at: 1,
        finished_at: null,
      })
      .onConflict((c) => c.doNothing())
      .execute();
    const execution = await wantExecution(trx, spec);
    await trx
      .insertInto('run_jobs')
      .values({
        run_id: id,
        job: `app/${spec.job}`,
        kind: 'command',
        position: 0,
        state: execution.state === 'leased' ? 'running' : 'queued',
        reused: 0,
        key: spec.key,
        document: null,
        why: null,
        execution_id: execution.id,
        blocked_on: null,
        failure: null,
        started_at: null,
        finished_at: null,
      })
      .execute();
    return execution.id;
  });
}

const neverLeased = () => assert.fail('no board job is leased here');

describeDatabases('leases', (fresh) => {
  const setUp = async (t: TestContext) => {
    const core = await createTestCore(t, { database: await fresh() });
    const leases = createLeases(core, createLogFiles(core.folder.logs), { open: neverLeased, close: async () => {} });
    const lease = (o: { session?: string | null; waitSeconds?: number } = {}) =>
      leases.lease(OFFER, { session: o.session ?? null, waitSeconds: o.waitSeconds ?? 0 });
    const execution = (id: string) =>
      core.db.selectFrom('executions').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
    const jobs = async () =>
      (await core.db.selectFrom('run_jobs').selectAll().orderBy('run_id').execute()).map((j) => j.state);
    return { core, leases, lease, execution, jobs };
  };
  const pass = (leases: Leases, lease: { executionId: string; token: number }, outputs: Record<string, Tree> = {}) =>
    leases.complete(lease.executionId, lease.token, { status: 'passed', outputs });

  test('of many runners that ask at once, one gets the job', async (t) => {
    const { core, lease } = await setUp(t);
    await want(core, specFor('one'));
    const got = await Promise.all(Array.from({ length: 10 }, () => lease()));
    assert.equal(got.filter((one) => one !== null).length, 1);
  });

  test('runs that want the same key at once share one execution', async (t) => {
    const { core } = await setUp(t);
    const ids = await Promise.all(Array.from({ length: 5 }, (_, i) => want(core, specFor('one'), i + 1)));
    assert.equal(new Set(ids).size, 1);
  });

  test('a runner that waits is woken by a job', async (t) => {
    const { core, lease } = await setUp(t);
    const waiting = lease({ waitSeconds: 20 });
    await want(core, specFor('one'));
    core.work.notify();
    assert.equal((await waiting)?.job.job, 'one');
  });

  test('a lease without heartbeats is lost; the next has a greater token; the old one is refused', async (t) => {
    const { core, leases, lease, execution, jobs } = await setUp(t);
    const id = await want(core, specFor('one'));
    const first = (await lease())!;
    await core.db
      .updateTable('executions')
      .set({ deadline: Date.now() - 1 })
      .execute();
    await leases.expire();
    assert.equal((await execution(id)).state, 'queued');
    assert.deepEqual(await jobs(), ['queued']);
    await assert.rejects(leases.heartbeat(id, { token: first.token, logOffset: 0 }), { code: 'stale-token' });
    await assert.rejects(pass(leases, first), { code: 'stale-token' });
    const second = (await lease())!;
    assert.ok(second.token > first.token);
    assert.equal(second.attempt, 2);
    await assert.rejects(pass(leases, first), { code: 'stale-token' });
    await pass(leases, second);
    assert.equal((await execution(id)).outcome, 'passed');
    assert.deepEqual(await jobs(), ['passed']);
  });

  test('a heartbeat keeps a lease', async (t) => {
    const { core, leases, lease, execution } = await setUp(t);
    const id = await want(core, specFor('one'));
    const held = (await lease())!;
    await core.db
      .updateTable('executions')
      .set({ deadline: Date.now() - 1 })
      .execute();
    await leases.heartbeat(id, { token: held.token, logOffset: 0 });
    await leases.expire();
    assert.equal((await execution(id)).state, 'leased');
  });

  test('after three lost leases the job fails as infrastructure, and nothing is cached', async (t) => {
    const { core, leases, lease, execution, jobs } = await setUp(t);
    const id = await want(core, specFor('one'));
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      const held = (await lease())!;
      assert.equal(held.attempt, attempt);
      await leases.complete(id, held.token, { status: 'infrastructure', message: 'disk full' });
    }
    assert.equal(await lease(), null);
    const end = await execution(id);
    assert.equal(end.outcome, 'infrastructure');
    assert.match(end.failure ?? '', /disk full; given up after 3 attempts/);
    assert.deepEqual(await jobs(), ['failed']);
    assert.deepEqual(await core.db.selectFrom('results').selectAll().execute(), []);
  });

  test('a restart of the server gives the jobs of its dead runner out again without counting it', async (t) => {
    const { core, leases, lease, execution } = await setUp(t);
    const [own, other] = [await want(core, specFor('own')), await want(core, specFor('other'), 2)];
    const mine = (await lease({ session: 'dead.1' }))!;
    const theirs = (await lease())!;
    await leases.recover();
    const embedded = mine.executionId;
    const remote = theirs.executionId;
    assert.deepEqual([embedded, remote].sort(), [own, other].sort());
    assert.equal((await execution(embedded)).state, 'queued');
    assert.equal((await execution(embedded)).lost, 0);
    // A runner on another machine did not die: it calls again.
    assert.equal((await execution(remote)).state, 'leased');
    await leases.heartbeat(remote, { token: theirs.token, logOffset: 0 });
    assert.equal((await lease())?.attempt, 1);
  });

  test('the death of the runner process counts, the end of the server does not', async (t) => {
    const { core, leases, lease, execution } = await setUp(t);
    const id = await want(core, specFor('one'));
    await lease({ session: 's.1' });
    await leases.endSession('s.1', { count: true, why: 'killed' });
    assert.equal((await execution(id)).lost, 1);
    const again = (await lease({ session: 's.2' }))!;
    core.abort();
    await leases.complete(id, again.token, { status: 'infrastructure', message: 'told to stop' });
    const left = await execution(id);
    assert.deepEqual([left.state, left.lost], ['queued', 1]);
  });

  test('outputs that are not whole in the store are refused, and the lease goes on', async (t) => {
    const { core, leases, lease, execution } = await setUp(t);
    const id = await want(core, specFor('one', ['model']));
    const held = (await lease())!;
    const missing = { contents: keyOf('a'), meta: keyOf('b') };
    await assert.rejects(pass(leases, held, { model: missing }), { code: 'outputs-incomplete', message: /model/ });
    await assert.rejects(pass(leases, held, {}), { code: 'outputs-incomplete', message: /lacks model/ });
    const tree = await storeFiles(core.folder.path, { a: '1' });
    await assert.rejects(pass(leases, held, { model: tree, more: tree }), { message: /undeclared more/ });
    assert.equal((await execution(id)).state, 'leased');
    assert.deepEqual(await core.db.selectFrom('results').selectAll().execute(), []);
    await pass(leases, held, { model: tree });
    const [result] = await core.db.selectFrom('results').selectAll().execute();
    assert.deepEqual(JSON.parse(result!.outputs).model.tree, tree);
  });

  test('a completion that is sent twice counts once', async (t) => {
    const { core, leases, lease } = await setUp(t);
    await want(core, specFor('one', ['model']));
    const held = (await lease())!;
    const tree = await storeFiles(core.folder.path, { a: '1' });
    await pass(leases, held, { model: tree });
    await pass(leases, held, { model: tree });
    assert.equal((await core.db.selectFrom('results').selectAll().execute()).length, 1);
    await assert.rejects(
      leases.complete(held.executionId, held.token, { status: 'failed', reason: 'exit', message: 'no' }),
      { code: 'stale-token' },
    );
  });

  test('an execution that nobody wants any more ends; one that is wanted again goes on', async (t) => {
    const { core, leases, lease, execution } = await setUp(t);
    const queued = await want(core, specFor('queued'));
    const cancel = (id: string) =>
      core.db.transaction().execute(async (trx) => {
        await trx.updateTable('run_jobs').set({ state: 'cancelled' }).where('execution_id', '=', id).execute();
        await dropUnwanted(trx, [id]);
      });
    await cancel(queued);
    assert.equal((await execution(queued)).outcome, 'cancelled');
    assert.equal(await lease(), null);

    const leased = await want(core, specFor('leased'), 2);
    const held = (await lease())!;
    await cancel(leased);
    assert.equal((await leases.heartbeat(leased, { token: held.token, logOffset: 0 })).cancel, true);
    // The runner was told, and now another run wants the key.
    assert.equal(await want(core, specFor('leased'), 3), leased);
    await leases.complete(leased, held.token, { status: 'failed', reason: 'killed', message: 'cancelled' });
    const again = (await lease())!;
    assert.deepEqual([again.executionId, again.attempt], [leased, 1]);
  });
});
