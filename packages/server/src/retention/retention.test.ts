import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  type Checksum,
  decodeSummary,
  deltaFolder,
  deltaIndexPath,
  generateDelta,
  hasClosure,
  hasObject,
  openRepo,
  type Repo,
  readCommit,
  repositoryHandler,
  setRef,
  type Tree,
  updateSummary,
  withTransaction,
  writeCommit,
} from '@treeline/ostree';
import { until } from '@treeline/ostree/testing/until.ts';
import type { Core } from '../core.ts';
import { channelHistory } from '../devices/history.ts';
import { createRegistry } from '../devices/index.ts';
import { publishByHand } from '../publish/by-hand.ts';
import { decidePublication } from '../publish/decide.ts';
import { makeKey } from '../publish/keys.ts';
import { runPublisher } from '../publish/publisher.ts';
import type { RepositoryPatch } from '../publish/repository-settings.ts';
import { channelHead } from '../reading/releases.ts';
import { createTestCore } from '../testing/core.ts';
import { describeDatabases } from '../testing/databases.ts';
import { storeFiles } from '../testing/runner.ts';
import { scratch } from '../testing/scratch.ts';
import { pin, unpin } from './pins.ts';
import { createRetention, type Retention } from './retention.ts';
import { STORE } from './tables.ts';

const HOUR = 3_600_000;
const BY = { name: 'alice', address: '192.0.2.1' };
const SERVER = { caller: null };

interface Stored {
  commit: Checksum;
  tree: Tree;
}

/** A commit of the store: files of its own, and some that all have. */
async function store(core: Core, version: string): Promise<Stored> {
  const files: Record<string, string> = { 'own/version': version };
  for (let index = 0; index < 10; index++) {
    files[`own/f${index}`] = `${index} of ${version}\n`.repeat(50);
    files[`all/f${index}`] = `${index}\n`.repeat(200);
  }
  const tree = await storeFiles(core.folder.path, files);
  const commit = await withTransaction(core.store, (tx) => writeCommit(tx, { tree, subject: version }));
  return { commit, tree };
}

interface Setting {
  core: Core & { abort(): void };
  repo: Repo;
  /** The clock of retention. */
  clock: { now: number };
  retention: Retention;
  publish(version: string, channel?: string): Promise<Checksum>;
  /** The server by itself looks at the repository. */
  look(): ReturnType<Retention['pass']>;
  has(...commits: Checksum[]): boolean[];
}

describeDatabases('retention', (fresh) => {
  const setUp = async (t: TestContext, settings: RepositoryPatch = {}): Promise<Setting> => {
    const core = await createTestCore(t, { database: await fresh() });
    await core.repositories.set('public', { retention: { releases: 2, grace: 1 }, ...settings }, BY);
    const publisher = runPublisher(core);
    t.after(() => publisher);
    const clock = { now: Date.now() };
    const retention = createRetention(core, () => clock.now);
    const repo = await openRepo(core.repositories.find('public')!.path);
    return {
      core,
      repo,
      clock,
      retention,
      async publish(version, channel = 'robot/edge') {
        const { commit } = await store(core, version);
        const { publication } = await publishByHand(core, {
          ...{ repository: 'public', items: [{ commit, channel, artifact: null }], reason: 'test', by: BY },
        });
        assert.equal(publication.state, 'published');
        return commit;
      },
      look: () => retention.pass(core.repositories.find('public')!, SERVER),
      has: (...commits) => commits.map((commit) => hasObject(repo, 'commit', commit)),
    };
  };

  test('an old release is named no more, then has its grace, then goes; what stays is whole', async (t) => {
    const { core, repo, clock, publish, look, has } = await setUp(t, { deltas: { previous: 0, devices: false } });
    const [a, b, c] = [await publish('a'), await publish('b'), await publish('c')];
    for (const [from, to] of [
      [a, b],
      [b, c],
      [null, c],
    ] as const)
      await generateDelta(repo, { from, to });
    await updateSummary(repo);
    const origin = await serve(t, repo);

    const first = await look();
    assert.deepEqual([...first.decision.dropped.keys()], [a]);
    assert.deepEqual(named(repo, [b, c]), [`${b}-${c}`, c].sort());
    assert.ok(existsSync(join(repo.path, deltaFolder(a, b), 'superblock')));
    // Who has heard of it still gets it.
    const client = clientOf(t, origin);
    await client('pull', 'origin', a);
    await client('pull', 'origin', c);

    clock.now += 23 * HOUR;
    assert.equal((await look()).freed.objects, 0);
    assert.deepEqual(has(a, b, c), [true, true, true]);
    clock.now += 2 * HOUR;
    const second = await look();
    assert.deepEqual(second.gone, [a]);
    assert.deepEqual(has(a, b, c), [false, true, true]);
    assert.ok(second.freed.objects >= 12 && second.freed.deltas === 1 && second.freed.deltaBytes > 0);
    assert.equal(second.freed.linked > 0 && second.freed.linked <= second.freed.bytes, true);
    assert.ok(!existsSync(join(repo.path, deltaFolder(a, b))));
    execFileSync('ostree', [`--repo=${repo.path}`, 'fsck'], { stdio: 'ignore' });
    for (const commit of [b, c]) assert.deepEqual(await hasClosure(repo, (await readCommit(repo, commit)).tree), []);
    await clientOf(t, origin)('pull', 'origin', 'robot/edge');
    assert.deepEqual(await rows(core), []);
    assert.deepEqual(await audited(core), [
      ['retention.drop', 'server', 'public'],
      ['retention.prune', 'server', 'public'],
    ]);
    assert.equal((await look()).freed.objects, 0);
  });

  test('a restart neither begins the grace anew nor skips it', async (t) => {
    const { core, clock, publish, look, has } = await setUp(t);
    const [a] = [await publish('a'), await publish('b'), await publish('c')];
    await look();
    clock.now += 23 * HOUR;
    const restarted = createRetention(core, () => clock.now);
    await restarted.pass(core.repositories.find('public')!, SERVER);
    assert.deepEqual(has(a), [true]);
    clock.now += 2 * HOUR;
    await restarted.pass(core.repositories.find('public')!, SERVER);
    assert.deepEqual(has(a), [false]);
  });

  test('the grace begins when nothing names it any more: while that cannot be, nothing goes', async (t) => {
    const keys = { signing: [{ type: 'ed25519' as const, file: 'release' }], summaryGrace: 0 };
    const { core, repo, clock, publish, look, has } = await setUp(t);
    await makeKey(core, 'release', BY);
    await core.repositories.set('public', keys, BY);
    const [a, b] = [await publish('a'), await publish('b'), await publish('c')];
    await generateDelta(repo, { from: a, to: b });
    await updateSummary(repo);
    const key = join(core.folder.keys, 'release');
    const secret = readFileSync(key);
    rmSync(key);
    for (const hours of [0, 100]) {
      clock.now += hours * HOUR;
      await assert.rejects(look(), { code: 'ENOENT' });
      assert.deepEqual(has(a), [true]);
    }
    writeFileSync(key, secret);
    await look();
    assert.deepEqual(has(a), [true], 'it was named until a moment ago');
    clock.now += 25 * HOUR;
    await look();
    assert.deepEqual(has(a), [false]);
  });

  test('whoever makes the summary name it again begins its grace anew', async (t) => {
    const { repo, clock, publish, look, has } = await setUp(t, { deltas: { previous: 0, devices: false } });
    const [a, b] = [await publish('a'), await publish('b'), await publish('c')];
    await generateDelta(repo, { from: a, to: b });
    await look();
    clock.now += 30 * HOUR;
    execFileSync('ostree', [`--repo=${repo.path}`, 'summary', '-u']); // libostree knows no retired deltas
    await look();
    assert.deepEqual(has(a), [true]);
    assert.deepEqual(named(repo, [b]), []);
    clock.now += 25 * HOUR;
    await look();
    assert.deepEqual(has(a), [false]);
  });

  test('what is wanted again in its grace stays, with its deltas; dropped again it has all of it', async (t) => {
    const { core, repo, clock, publish, look, has } = await setUp(t, { deltas: { previous: 0, devices: false } });
    const [a, b] = [await publish('a'), await publish('b'), await publish('c')];
    await generateDelta(repo, { from: a, to: b });
    await look();
    clock.now += 23 * HOUR;
    await pin(core, { commit: a, repository: 'public' }, { reason: 'a customer has it', by: BY });
    const kept = (await look()).decision.kept.get(a);
    assert.deepEqual(
      kept?.map(({ text }) => text),
      ['pinned by alice: a customer has it'],
    );
    assert.deepEqual(named(repo, [b]), [`${a}-${b}`]);
    clock.now += 100 * HOUR;
    await look();
    await unpin(core, { commit: a, repository: 'public' }, BY);
    await look();
    assert.deepEqual(named(repo, [b]), []);
    clock.now += 23 * HOUR;
    await look();
    assert.deepEqual(has(a), [true]);
    clock.now += 2 * HOUR;
    await look();
    assert.deepEqual(has(a), [false]);
    await assert.rejects(unpin(core, { commit: a, repository: 'public' }, BY), { code: 'not-found' });
    await assert.rejects(pin(core, { commit: a, repository: 'public' }, { reason: 'x', by: BY }), {
      code: 'not-found',
    });
    assert.deepEqual(
      (await audited(core)).filter(([action]) => action!.startsWith('pin')),
      [
        ['pin.add', 'alice', `public:${a}`],
        ['pin.remove', 'alice', `public:${a}`],
      ],
    );
  });

  test('a release that is decided while its commit is about to go keeps it', async (t) => {
    const { core, repo, clock, publish, look, has } = await setUp(t);
    const [a, b] = [await publish('a'), await publish('b'), await publish('c'), await publish('d')];
    await look();
    clock.now += 25 * HOUR;
    const back = (commit: Checksum) => ({ commit, channel: 'robot/edge', artifact: null });
    // The pass decides, walks, and waits for this transaction before it deletes.
    let looking: ReturnType<typeof look> | undefined;
    const held = withTransaction(repo, async () => {
      looking = look();
      await sleep(300);
      const tree = (await readCommit(core.store, a)).tree;
      const wish = { repository: 'public', items: [{ ...back(a), tree }], run: null, reason: 'back', by: BY };
      await core.db.transaction().execute((trx) => decidePublication(trx, core, wish));
    });
    await held;
    const { gone } = (await looking)!;
    assert.deepEqual([gone, has(a, b)], [[b], [true, false]]);
    await until(async () => (await channelHead(core.db, 'public', 'robot/edge'))?.commit === a, 'the release');
    assert.deepEqual(await hasClosure(repo, (await readCommit(repo, a)).tree), []);
    // One that is decided when it is gone copies it anew.
    await publishByHand(core, { repository: 'public', items: [back(b)], reason: 'back', by: BY });
    assert.deepEqual(await hasClosure(repo, (await readCommit(repo, b)).tree), []);
    execFileSync('ostree', [`--repo=${repo.path}`, 'fsck'], { stdio: 'ignore' });
  });

  test('without grace it goes at once', async (t) => {
    const { publish, look, has } = await setUp(t, { retention: { releases: 1, grace: 0 } });
    const [a, b] = [await publish('a'), await publish('b')];
    assert.deepEqual((await look()).gone, [a]);
    assert.deepEqual(has(a, b), [false, true]);
  });

  test('what devices run, may fetch or fall back to stays, until they move on', async (t) => {
    const { core, clock, publish, look, has } = await setUp(t, { retention: { releases: 1, grace: 0 } });
    const releases = { current: (repository: string, channel: string) => channelHead(core.db, repository, channel) };
    const registry = createRegistry({
      db: core.db,
      events: core.events,
      audit: core.audit,
      releases,
      now: () => clock.now++,
    });
    await registry.admit({ id: 'board-1', publicKey: 'k', policy: 'accept' });
    const commits: Checksum[] = [];
    const move = async (version: string) => {
      const commit = await publish(version);
      commits.push(commit);
      await registry.noteOffer('board-1', commit);
      await look();
      await registry.checkIn('board-1', { commit });
      await look();
    };
    await move('a');
    await move('b');
    await move('c');
    const [a, b, c] = commits as [Checksum, Checksum, Checksum];
    assert.deepEqual(has(a, b, c), [true, true, true], 'it runs c, and may boot b or a');
    await move('d');
    assert.deepEqual(has(a, b, c), [false, true, true]);
    // It goes back to c: what was bad here is not what it falls back to.
    await registry.report('board-1', { state: 'rolled-back', release: c, from: commits[3]!, reason: 'bad' });
    await registry.checkIn('board-1', { commit: c });
    const { kept } = (await look()).decision;
    assert.deepEqual(
      kept.get(c)?.map(({ text }) => text),
      ['board-1 runs it'],
    );
    assert.deepEqual(
      kept.get(b)?.map(({ text }) => text),
      ['1 device may fall back to it'],
    );
    // As its release is bad, it gets the one before: as long as retention keeps that.
    const device = (await registry.get('board-1'))!;
    assert.equal(await registry.offer(device, 'robot/edge'), c);
    await registry.remove('board-1', BY);
    await look();
    assert.deepEqual(has(b, c, commits[3]!), [false, false, true]);
  });

  test('nothing that is dropped is offered to a device', async (t) => {
    const { core, publish, look } = await setUp(t);
    const commits = [await publish('a'), await publish('b'), await publish('c')];
    assert.deepEqual(await channelHistory(core.db, 'public', 'robot/edge'), [...commits].reverse());
    await look();
    assert.deepEqual(await channelHistory(core.db, 'public', 'robot/edge'), [commits[2], commits[1]]);
  });

  test('a dry run says what goes, what goes later and why the rest stays, and changes nothing', async (t) => {
    const { core, repo, clock, retention, publish, look } = await setUp(t, { deltas: { previous: 0, devices: false } });
    const repository = core.repositories.find('public')!;
    const [a, b, c] = [await publish('a'), await publish('b'), await publish('c'), await publish('d')];
    await generateDelta(repo, { from: a, to: b });
    await generateDelta(repo, { from: b, to: c });
    await updateSummary(repo);
    const ask = () => retention.pass(repository, { ...SERVER, dryRun: true });
    const fresh = await ask();
    assert.deepEqual([...fresh.decision.dropped.keys()].sort(), [a, b].sort());
    assert.deepEqual([fresh.freed.objects, fresh.decision.going.size, fresh.waiting!.deltas], [0, 0, 2]);
    assert.deepEqual(await rows(core), []);
    assert.deepEqual(named(repo, [b, c]), [`${a}-${b}`, `${b}-${c}`].sort());
    await look();
    clock.now += 25 * HOUR;
    const due = await ask();
    assert.deepEqual(due.freed, fresh.waiting);
    assert.equal(due.waiting!.objects, 0);
    assert.deepEqual((await look()).freed, { ...due.freed, deltaBytes: due.freed.deltaBytes });
  });

  test('objects that no commit needs go with a thorough look, and with the next commit that goes', async (t) => {
    const { core, repo, retention, publish, look } = await setUp(t);
    const [a] = [await publish('a')];
    const stray = await withTransaction(repo, async (tx) => tx.writeDirTree({ files: new Map(), dirs: new Map() }));
    await sleep(20);
    await look();
    assert.ok(hasObject(repo, 'dirtree', stray));
    const { freed } = await retention.pass(core.repositories.find('public')!, { caller: BY, thorough: true });
    assert.deepEqual([freed.objects, hasObject(repo, 'dirtree', stray)], [1, false]);
    assert.deepEqual(await hasClosure(repo, (await readCommit(repo, a)).tree), []);
    assert.deepEqual((await audited(core)).at(-1), ['retention.prune', 'alice', 'public']);
  });

  test('a repository that is removed is forgotten, and one that fails does not hold up the others', async (t) => {
    const { core, clock, publish, look } = await setUp(t);
    for (const version of ['a', 'b', 'c']) await publish(version);
    await look();
    assert.equal((await rows(core)).length, 1);
    await core.repositories.add('other', {}, BY);
    rmSync(join(core.folder.repos, 'other'), { recursive: true });
    await core.repositories.remove('public', BY, { force: true });
    const running = createRetention(core, () => clock.now).run();
    await until(async () => (await rows(core)).length === 0, 'nothing known of it');
    core.abort();
    await running;
  });

  test('the store keeps whatever anything names; the rest has its grace', async (t) => {
    const { core, clock, retention } = await setUp(t);
    const commitOf = async (version: string) => (await store(core, version)).commit;
    const [pushed, overwritten, pinned, parent] = [
      await commitOf('pushed'),
      await commitOf('overwritten'),
      await commitOf('pinned'),
      await commitOf('parent'),
    ];
    const { tree } = await readCommit(core.store, pushed);
    const made = await withTransaction(core.store, (tx) =>
      writeCommit(tx, {
        ...{ tree, parent, subject: 'made' },
        metadata: [['treeline.provenance', { type: 's', value: JSON.stringify(provenance(pinned, overwritten)) }]],
      }),
    );
    await setRef(core.store, 'team/one', pushed);
    await pin(core, { commit: pinned, repository: null }, { reason: 'x', by: BY });
    const look = () => retention.passStore(SERVER);
    const { kept, dropped } = await look();
    assert.deepEqual([kept.get(pushed), kept.get(pinned)], ['ref', 'pin']);
    assert.deepEqual([...dropped.keys()].sort(), [overwritten, parent, made].sort());
    // What it was made from is kept with it: labels come from there.
    await setRef(core.store, 'team/two', made);
    const again = await look();
    assert.deepEqual([again.kept.get(overwritten), again.kept.get(parent)], ['origin', 'origin']);
    assert.equal(again.dropped.size, 0);
    await setRef(core.store, 'team/two', null);
    const label = { contents: tree.contents, meta: tree.meta, label: 'internal', name: '', commit: made };
    await core.db
      .insertInto('labels')
      .values({ ...label, actor: 'x', reason: 'y', created_at: 1 })
      .execute();
    assert.equal((await look()).kept.get(made), 'label');
    // What a file of a project says of all that it makes keeps none of it.
    await core.db.updateTable('labels').set({ actor: null }).execute();
    await look();
    clock.now += 6 * 24 * HOUR;
    assert.deepEqual((await look()).gone, []);
    clock.now += 2 * 24 * HOUR;
    const last = await look();
    assert.deepEqual([...last.gone].sort(), [overwritten, parent, made].sort());
    assert.ok(last.freed.objects > 0);
    for (const commit of [pushed, pinned]) {
      assert.deepEqual(await hasClosure(core.store, (await readCommit(core.store, commit)).tree), []);
    }
    execFileSync('ostree', [`--repo=${core.store.path}`, 'fsck'], { stdio: 'ignore' });
    assert.deepEqual((await audited(core)).at(-1), ['retention.prune', 'server', STORE]);
  });

  test('the store keeps young objects that no commit has yet: a job may be about to be done', async (t) => {
    const { core, clock, retention } = await setUp(t);
    const tree = await storeFiles(core.folder.path, { out: 'of a job' });
    clock.now += 6 * 24 * HOUR;
    await retention.passStore({ ...SERVER, thorough: true });
    assert.deepEqual(await hasClosure(core.store, tree), []);
    clock.now += 2 * 24 * HOUR;
    const dry = await retention.passStore({ ...SERVER, thorough: true, dryRun: true });
    const { freed } = await retention.passStore({ ...SERVER, thorough: true });
    assert.deepEqual(freed, dry.freed);
    assert.ok((await hasClosure(core.store, tree)).length > 0);
  });
});

const provenance = (image: Checksum, input: Checksum) => ({
  ...{ project: 'app', job: 'package', artifact: 'app', key: 'f'.repeat(64), run: 'run-1' },
  inputs: [{ name: 'in', commit: input }],
  sources: [{ project: 'app', url: 'u', revision: 'r', subject: 's', commit: image }],
});

/** Names of the deltas that indexes of these commits and the summary name. */
function named(repo: Repo, commits: readonly Checksum[]): string[] {
  const { metadata } = decodeSummary(readFileSync(join(repo.path, 'summary')));
  const listed = metadata.find(([key]) => key === 'ostree.static-deltas')?.[1].value as [string, unknown][] | undefined;
  const names = new Set((listed ?? []).map(([name]) => name));
  const indexed = new Set<string>();
  for (const commit of commits) {
    const path = join(repo.path, deltaIndexPath(commit));
    if (!existsSync(path)) continue;
    for (const name of names) if (name.endsWith(commit)) indexed.add(name);
  }
  return [...names].filter((name) => commits.some((commit) => name.endsWith(commit))).sort();
}

async function rows(core: Core) {
  return core.db.selectFrom('dropped_commits').select('commit').where('repository', '!=', STORE).execute();
}

async function audited(core: Core): Promise<(string | null)[][]> {
  const found = await core.db.selectFrom('audit').selectAll().orderBy('id').execute();
  return found
    .filter(({ action }) => /^(retention|pin)\./.test(action))
    .map(({ action, actor, subject }) => [action, actor, subject]);
}

async function serve(t: TestContext, repo: Repo): Promise<string> {
  const handle = repositoryHandler(repo.path);
  const server = createServer((req, res) => void handle(req, res, req.url ?? '/'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A stock client. */
function clientOf(t: TestContext, url: string): (...args: string[]) => Promise<unknown> {
  const device = join(scratch(t), 'device');
  execFileSync('ostree', [`--repo=${device}`, 'init', '--mode=bare-user-only']);
  execFileSync('ostree', [`--repo=${device}`, 'remote', 'add', '--no-gpg-verify', 'origin', url]);
  return (...args) => promisify(execFile)('ostree', [`--repo=${device}`, ...args]);
}
