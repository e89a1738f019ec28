import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import {
  type Checksum,
  hasClosure,
  hasObject,
  listRefs,
  openRepo,
  type Repo,
  readCommit,
  withTransaction,
  writeCommit,
} from '@treeline/ostree';
import type { Run, RunDetail } from '../api/schema.ts';
import type { Core } from '../core.ts';
import { createRegistry } from '../devices/index.ts';
import { publishByHand } from '../publish/by-hand.ts';
import { runPublisher } from '../publish/publisher.ts';
import { revertItems } from '../publish/revert.ts';
import { channelHead } from '../reading/releases.ts';
import { createTestCore } from '../testing/core.ts';
import { describeDatabases, type NewDatabase } from '../testing/databases.ts';
import { createGitRepository } from '../testing/git-repository.ts';
import { serveJobs, storeFiles } from '../testing/runner.ts';
import { scratch } from '../testing/scratch.ts';
import { startTestServer } from '../testing/server.ts';
import { measureDiskUse } from './disk-use.ts';
import { createRetention } from './retention.ts';

const DAY = 86_400_000;
const BY = { name: 'alice', address: '192.0.2.1' };
const SERVER = { caller: null };

describeDatabases('retention of the store', (fresh) => {
  test('what only dropped releases kept goes from the store, too; a device keeps what it runs', async (t) => {
    const core = await createTestCore(t, { database: await fresh() });
    await core.repositories.set('public', { retention: { releases: 2, grace: 1 } }, BY);
    const publisher = runPublisher(core);
    t.after(() => publisher);
    const clock = { now: Date.now() };
    const retention = createRetention(core, () => clock.now);
    const repository = core.repositories.find('public')!;
    const look = async () => {
      await retention.pass(repository, SERVER);
      return await retention.passStore({ ...SERVER, thorough: true });
    };
    const commits: Checksum[] = [];
    for (const version of ['a', 'b', 'c', 'd', 'e']) {
      const commit = await store(core, version);
      await publish(core, commit);
      commits.push(commit);
    }
    const [a, b, c, d, e] = commits as [Checksum, Checksum, Checksum, Checksum, Checksum];
    const registry = createRegistry({
      ...{ db: core.db, events: core.events, audit: core.audit },
      releases: { current: (name, channel) => channelHead(core.db, name, channel) },
    });
    await registry.admit({ id: 'board-1', publicKey: 'k', policy: 'accept' });
    await registry.checkIn('board-1', { commit: b });

    const before = await storeBytes(core);
    assert.equal((await look()).kept.get(a), 'release', 'its repository still has it');
    clock.now += 1.1 * DAY;
    const left = await look();
    const repo = await openRepo(repository.path);
    assert.deepEqual(has(repo, commits), [false, true, false, true, true]);
    assert.deepEqual([...left.dropped.keys()].sort(), [a, c].sort());
    // It has the store's grace, in which it can come back.
    await publishByHand(core, {
      ...{ repository: 'public', reason: 'back', by: BY },
      items: await revertItems(core, { repository: 'public', channels: ['robot/edge'], to: 3 }),
    });
    clock.now += 7.1 * DAY;
    const last = await look();
    assert.deepEqual(last.gone, [a]);
    assert.deepEqual(has(core.store, commits), [false, true, true, true, true]);
    assert.ok((await storeBytes(core)) < before - 20_000);
    for (const { path } of [core.store, repo]) execFileSync('ostree', [`--repo=${path}`, 'fsck'], { stdio: 'ignore' });
    for (const commit of [b, c, d, e]) {
      assert.deepEqual(await hasClosure(core.store, (await readCommit(core.store, commit)).tree), []);
    }
    await assert.rejects(revertItems(core, { repository: 'public', channels: ['robot/edge'], to: 1 }), {
      code: 'unprocessable',
      message: new RegExp(`release 1 of public:robot/edge cannot come back: retention has let its commit ${a} go`),
    });
    await registry.remove('board-1', BY);
    for (let days = 0; days < 10; days++) {
      clock.now += DAY;
      await look();
    }
    assert.deepEqual(has(core.store, [b, c, e]), [false, true, true]);
  });

  test('a repository that cannot be read lets nothing go', async (t) => {
    const core = await createTestCore(t, { database: await fresh() });
    const publisher = runPublisher(core);
    t.after(() => publisher);
    const commit = await store(core, 'a');
    await publish(core, commit);
    const { path } = core.repositories.find('public')!;
    execFileSync('mv', [path, `${path}.away`]);
    const clock = { now: Date.now() };
    const retention = createRetention(core, () => clock.now);
    for (let days = 0; days < 12; days += 4) {
      await assert.rejects(retention.passStore(SERVER));
      clock.now += 4 * DAY;
    }
    execFileSync('mv', [`${path}.away`, path]);
    assert.equal((await retention.passStore(SERVER)).kept.get(commit), 'release');
  });

  test('what jobs made is forgotten when nothing needs it and no run used it; what goes into a release stays', async (t) => {
    const line = await setUpLine(t, fresh);
    const runs: RunDetail[] = [];
    for (const speed of [1, 2, 3]) runs.push(await line.push(speed));
    const released = runs.map((run) => run.publishes[0]!.commit!);
    const packages = runs.map((run) => outputOf(run, 'package'));
    const reports = runs.map((run) => outputOf(run, 'report'));
    await line.server.close();

    const clock = { now: Date.now() };
    await line.offline(async (core) => {
      await core.repositories.set('public', { retention: { releases: 1, grace: 0 } }, BY);
      const retention = createRetention(core, () => clock.now);
      const look = async () => {
        await retention.pass(core.repositories.find('public')!, SERVER);
        return await retention.passStore({ ...SERVER, thorough: true });
      };
      const young = await look();
      assert.deepEqual(has(core.store, packages), [true, true, true]);
      assert.equal(young.dropped.size, 0, 'runs have used all of it lately');
      clock.now += 31 * DAY;
      const dry = await retention.passStore({ ...SERVER, dryRun: true });
      assert.ok(dry.waiting!.objects > 0);
      assert.equal((await core.db.selectFrom('forgotten_results').select('key').execute()).length, 0);
      const bytes = await storeBytes(core);
      const old = await look();
      const reasons = [released[2]!, packages[2]!, reports[2]!].map((commit) => old.kept.get(commit));
      assert.deepEqual(reasons, ['release', 'origin', 'result'], 'a key that is good is good for all its outputs');
      const dropped = [released[0]!, packages[0]!, reports[0]!, released[1]!, packages[1]!, reports[1]!];
      for (const commit of dropped) assert.ok(old.dropped.has(commit));
      const refs = [...(await listRefs(core.store)).values()];
      for (const commit of dropped) assert.ok(!refs.includes(commit));
      clock.now += 8 * DAY;
      const { gone, freed } = await look();
      for (const commit of dropped) assert.ok(gone.includes(commit));
      assert.ok(freed.objects >= dry.waiting!.objects);
      assert.ok((await storeBytes(core)) < bytes);
      // The sources of those runs as well, but for the newest and those that the release was made from.
      const sources = await core.db.selectFrom('revisions').select(['revision', 'commit']).execute();
      const stay = sources.filter(({ commit }) => hasObject(core.store, 'commit', commit));
      const newest = await core.db.selectFrom('projects').select('head').execute();
      assert.deepEqual(stay.map(({ revision }) => revision).sort(), newest.map(({ head }) => String(head)).sort());
      assert.ok(sources.length >= 4);
      execFileSync('ostree', [`--repo=${core.store.path}`, 'fsck'], { stdio: 'ignore' });
    });

    // What was forgotten is made again; what stayed is reused.
    const again = await line.start();
    const newest = await again.server.runEnd((await again.server.post<Run>('/runs', {})).id);
    assert.deepEqual(
      newest.jobs.map(({ reused }) => reused),
      [true, true],
    );
    const first = line.revisions[0]!;
    const made = await again.server.runEnd((await again.server.post<Run>('/projects/app/run', { revision: first })).id);
    assert.equal(made.state, 'passed', JSON.stringify(made));
    assert.deepEqual(
      made.jobs.map(({ reused }) => reused),
      [false, false],
    );
    const whole = await openRepo(`${again.server.dataDir}/store`);
    assert.ok(hasObject(whole, 'commit', (await listRefs(whole)).get(`sources/app/${first}`)!));
    const old = await again.server.get<RunDetail>(`/runs/${runs[0]!.id}`);
    assert.equal(old.state, 'passed');
  });

  test('what a run that goes on has taken is not forgotten, however long it goes on', async (t) => {
    const line = await setUpLine(t, fresh);
    const done = await line.push(1);
    const commit = outputOf(done, 'package');
    await line.server.close();
    await line.offline(async (core) => {
      const clock = { now: Date.now() + 100 * DAY };
      await core.repositories.remove('public', BY, { force: true });
      await core.db.updateTable('projects').set({ head: null }).execute();
      const look = () => createRetention(core, () => clock.now).passStore(SERVER);
      await core.db.updateTable('runs').set({ state: 'running' }).execute();
      assert.equal((await look()).kept.get(commit), 'result');
      await core.db.updateTable('runs').set({ state: 'passed' }).execute();
      assert.equal((await look()).kept.get(commit), undefined);
      const audit = await core.db.selectFrom('audit').selectAll().where('action', '=', 'retention.forget').execute();
      assert.deepEqual(
        audit.map(({ data }) => (JSON.parse(data) as { count: number }).count),
        [2],
      );
      // The server still knows that it made them: labels depend on that.
      assert.equal((await core.origins.read(commit))?.made, true);
    });
  });
});

const APP = `
image: host
jobs:
  package:
    paths: [app.py]
    run: make
    outputs: { package: package, report: report }
`;
const SYSTEM = `
image: host
jobs:
  system:
    compose: [{ tree: app/package, at: /app }]
    output: system
publish:
  - { artifact: system, channel: robot/edge }
`;

/** An app and a system made of it; each push makes a release. */
async function setUpLine(t: TestContext, fresh: NewDatabase) {
  const folder = scratch(t);
  const app = createGitRepository(`${folder}/app`);
  app.commit('App', { 'treeline.yaml': APP, 'app.py': 'speed=0' });
  const system = createGitRepository(`${folder}/system`);
  system.commit('System', { 'treeline.yaml': SYSTEM });
  const settings = { dataDir: `${folder}/data`, database: await fresh() };
  const start = async () => {
    const server = await startTestServer(t, settings);
    const stop = new AbortController();
    t.after(() => stop.abort());
    const o = { url: server.url, token: server.runnerToken, dataDir: server.dataDir, signal: stop.signal };
    void serveJobs(o, (job) => {
      const text = `made of ${job.source?.contents}\n`.repeat(100);
      return Object.fromEntries(job.outputs.map(({ name }) => [name, { [name]: `${name} ${text}` }]));
    });
    return { server };
  };
  const { server } = await start();
  const revisions: string[] = [];
  await server.addProject('app', app.path);
  await server.addProject('system', system.path);
  return {
    server,
    start,
    /** git revisions that were pushed. */
    revisions,
    async push(speed: number): Promise<RunDetail> {
      revisions.push(app.commit(`Speed ${speed}`, { 'app.py': `speed=${speed}` }));
      const run = await server.runEnd((await server.post<Run>('/projects/app/run')).id);
      assert.equal(run.state, 'passed', JSON.stringify(run));
      return run;
    },
    /** Does something with the data of a server that is closed. */
    async offline(work: (core: Core) => Promise<void>): Promise<void> {
      const later: (() => unknown)[] = [];
      const core = await createTestCore({ after: (fn) => void later.push(fn as () => unknown) }, settings);
      try {
        await work(core);
      } finally {
        for (const fn of later) await fn();
      }
    },
  };
}

function outputOf(run: RunDetail, artifact: string): Checksum {
  return run.jobs.flatMap(({ outputs }) => outputs).find((output) => output.artifact === artifact)!.commit;
}

async function store(core: Core, version: string): Promise<Checksum> {
  const files: Record<string, string> = {};
  for (let index = 0; index < 40; index++) {
    files[`own/f${index}`] = `${index} of ${version}\n`.repeat(50);
    files[`all/f${index}`] = `${index}\n`.repeat(200);
  }
  const tree = await storeFiles(core.folder.path, files);
  return await withTransaction(core.store, (tx) => writeCommit(tx, { tree, subject: version }));
}

async function publish(core: Core, commit: Checksum): Promise<void> {
  const items = [{ commit, channel: 'robot/edge', artifact: null }];
  const { publication } = await publishByHand(core, { repository: 'public', items, reason: 'test', by: BY });
  assert.equal(publication.state, 'published');
}

function has(repo: Repo, commits: readonly Checksum[]): boolean[] {
  return commits.map((commit) => hasObject(repo, 'commit', commit));
}

/** As `treeline du` shows of the store. */
async function storeBytes(core: Core): Promise<number> {
  const [measured] = await measureDiskUse(core);
  assert.equal(measured?.repository, null);
  return measured.use.objects.allocated;
}
