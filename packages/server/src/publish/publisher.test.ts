import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  createRepo,
  decodeSummary,
  hasClosure,
  openRepo,
  type Repo,
  readCommit,
  readRef,
  setRef,
  type Tree,
  withTransaction,
  writeCommit,
} from '@treeline/ostree';
import { until } from '@treeline/ostree/testing/until.ts';
import type { Core } from '../core.ts';
import { channelHead, listReleases } from '../reading/releases.ts';
import { createTestCore } from '../testing/core.ts';
import { describeDatabases } from '../testing/databases.ts';
import { storeFiles } from '../testing/runner.ts';
import { publishByHand } from './by-hand.ts';
import { decidePublication } from './decide.ts';
import { runPublisher } from './publisher.ts';
import type { ReleaseRow } from './tables.ts';

interface Stored {
  commit: string;
  tree: Tree;
}

async function store(core: Core, files: Record<string, string>): Promise<Stored> {
  const tree = await storeFiles(core.folder.path, files);
  const commit = await withTransaction(core.store, (tx) => writeCommit(tx, { tree, subject: JSON.stringify(files) }));
  return { commit, tree };
}

const CHANNEL = { repository: 'public', channel: 'robot/edge' };

async function decide(
  core: Core,
  stored: Stored,
  run: number | null,
  expect?: string | null,
  at: Partial<typeof CHANNEL> = {},
): Promise<ReleaseRow> {
  const { repository, channel } = { ...CHANNEL, ...at };
  const wish = {
    repository,
    items: [{ channel, ...stored, artifact: null, ...(expect === undefined ? {} : { expect }) }],
    run: run === null ? null : { id: `run-${run}`, number: run },
    reason: 'test',
  };
  const { releases } = await core.db.transaction().execute((trx) => decidePublication(trx, core, wish));
  return releases[0]!;
}

/** Publishes one commit by hand. */
async function byHand(
  core: Core,
  o: { commit: string; channel?: string; expect?: string | null },
): Promise<ReleaseRow> {
  const { repository, channel } = { ...CHANNEL, ...o };
  const items = [
    { channel, commit: o.commit, artifact: null, ...(o.expect === undefined ? {} : { expect: o.expect }) },
  ];
  const { releases } = await publishByHand(core, { repository, items, reason: 'test', by: BY });
  return releases[0]!;
}

const BY = { name: 'ann', address: null };

describeDatabases('publishing', (fresh) => {
  const setUp = async (t: TestContext) => {
    const core = await createTestCore(t, { database: await fresh() });
    let publisher: Promise<void> | null = null;
    t.after(() => publisher);
    const settled = async (id: string): Promise<ReleaseRow> => {
      publisher ??= runPublisher(core);
      let row: ReleaseRow;
      const isOver = async () => {
        row = await core.db.selectFrom('releases').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
        return row.state !== 'publishing';
      };
      await until(isOver, `the end of ${id}`);
      return row!;
    };
    const published = async (): Promise<string | null> =>
      readRef(await openRepo(join(core.folder.repos, 'public')), CHANNEL.channel);
    return { core, settled, published };
  };

  test('a run never replaces the release of a newer run, in whatever order they end', async (t) => {
    const { core, settled, published } = await setUp(t);
    const [old, young] = [await store(core, { v: '1' }), await store(core, { v: '2' })];
    await settled((await decide(core, young, 7)).id);
    const late = await decide(core, old, 5);
    assert.equal(late.state, 'abandoned');
    assert.match(late.message ?? '', /newer run is there: run-7/);
    assert.equal(await published(), young.commit);
    assert.deepEqual(await channelHead(core.db, 'public', 'robot/edge'), { commit: young.commit });
  });

  test('a release that is decided while an older one waits replaces it: only the newest is moved to', async (t) => {
    const { core, settled, published } = await setUp(t);
    const rows = [];
    for (let run = 1; run <= 3; run += 1) rows.push(await decide(core, await store(core, { v: String(run) }), run));
    const [first, second, third] = rows as [ReleaseRow, ReleaseRow, ReleaseRow];
    assert.equal((await settled(third.id)).state, 'published');
    assert.equal((await settled(first.id)).state, 'abandoned');
    assert.equal((await settled(second.id)).state, 'abandoned');
    assert.equal((await settled(third.id)).previous, null);
    assert.equal(await published(), third.commit);
  });

  test('the tree that the channel has is not released again, but counts as the newer run', async (t) => {
    const { core, settled } = await setUp(t);
    const one = await store(core, { v: '1' });
    await settled((await decide(core, one, 1)).id);
    const again = {
      commit: await withTransaction(core.store, (tx) => writeCommit(tx, { tree: one.tree, timestamp: 5 })),
      tree: one.tree,
    };
    const confirmed = await settled((await decide(core, again, 3)).id);
    assert.deepEqual([confirmed.state, confirmed.commit], ['published', one.commit]);
    assert.equal((await decide(core, await store(core, { v: '2' }), 2)).state, 'abandoned');
    const releases = await listReleases(core.db, { limit: 10 });
    assert.deepEqual(
      releases.filter((r) => r.state === 'published').map((r) => [r.commit, r.current]),
      [[one.commit, true]],
    );
  });

  test('by hand: expect is a compare-and-swap, and an older commit can come back', async (t) => {
    const { core, settled, published } = await setUp(t);
    const [one, two] = [await store(core, { v: '1' }), await store(core, { v: '2' })];
    await settled((await decide(core, one, 1)).id);
    await settled((await decide(core, two, 2)).id);
    await assert.rejects(decide(core, one, null, one.commit), (error: Error & { code: string; data: unknown }) => {
      assert.equal(error.code, 'conflict');
      assert.deepEqual(error.data, { current: two.commit });
      return true;
    });
    await assert.rejects(decide(core, one, null, null), { code: 'conflict' });
    const row = await byHand(core, { commit: one.commit, expect: two.commit });
    assert.equal(row.state, 'published');
    assert.equal(await published(), one.commit);
    // Runs that had begun by then do not undo it; later ones go on.
    assert.equal((await decide(core, two, 1)).state, 'abandoned');
    const tie = await decide(core, two, 2);
    assert.equal(tie.state, 'abandoned');
    assert.match(tie.message ?? '', /by hand is there/);
    assert.equal(await published(), one.commit);
    assert.equal((await settled((await decide(core, two, 3)).id)).state, 'published');
  });

  test('what a crash left half-way is finished at the next start', async (t) => {
    const { core, settled, published } = await setUp(t);
    const one = await store(core, { v: '1' });
    const row = await decide(core, one, 1);
    // Killed after the ref, before the summary and the database.
    const repo = await createRepo(join(core.folder.repos, 'public'), { mode: 'archive' });
    const { copyClosure } = await import('@treeline/ostree');
    await copyClosure(core.store, repo, [one.commit]);
    await setRef(repo, CHANNEL.channel, one.commit);
    assert.equal((await settled(row.id)).state, 'published');
    assert.equal(await published(), one.commit);
    assert.deepEqual(await summaryRefs(repo), [[CHANNEL.channel, one.commit]]);
  });

  test('a commit that is not whole in the store is not published, and the channel stays', async (t) => {
    const { core, settled, published } = await setUp(t);
    const [good, bad] = [await store(core, { v: '1' }), await store(core, { v: 'gone' })];
    await settled((await decide(core, good, 1)).id);
    const { contents } = (await readCommit(core.store, bad.commit)).tree;
    rmSync(join(core.store.path, 'objects', contents.slice(0, 2), `${contents.slice(2)}.dirtree`));
    const row = await settled((await decide(core, bad, 2)).id);
    assert.equal(row.state, 'failed');
    assert.match(row.message ?? '', new RegExp(contents.slice(0, 12)));
    assert.equal(await published(), good.commit);
  });

  test('a channel cannot be a folder of another: by hand it is refused, from a run it fails, and others go on', async (t) => {
    const { core, settled, published } = await setUp(t);
    const [one, two] = [await store(core, { v: '1' }), await store(core, { v: '2' })];
    await settled((await decide(core, one, 1)).id);
    for (const channel of ['robot', 'robot/edge/arm']) {
      const refusal = byHand(core, { channel, commit: two.commit });
      await assert.rejects(refusal, (error: Error & { code: string; hint: string }) => {
        assert.equal(error.code, 'conflict');
        assert.match(error.message, /cannot be beside channel robot\/edge of public/);
        assert.match(error.hint, /another name/);
        return true;
      });
      const row = await decide(core, two, 2, undefined, { channel });
      assert.deepEqual([row.state, row.message?.includes('cannot be beside')], ['failed', true]);
    }
    assert.equal((await settled((await decide(core, one, 2, undefined, { channel: 'robots' })).id)).state, 'published');
    assert.equal((await settled((await decide(core, two, 3)).id)).state, 'published');
    assert.equal(await published(), two.commit);
  });

  test('a ref that the repository cannot hold fails its release once and for all, and holds up no other', async (t) => {
    const { core, settled } = await setUp(t);
    const one = await store(core, { v: '1' });
    // Refs that no release of this database made.
    const repo = await createRepo(join(core.folder.repos, 'public'), { mode: 'archive' });
    await setRef(repo, 'a/b', one.commit);
    await setRef(repo, 'c', one.commit);
    const below = await decide(core, one, 1, undefined, { channel: 'c/d' });
    const above = await decide(core, one, 1, undefined, { channel: 'a' });
    const long = await decide(core, one, 1, undefined, { channel: 'x'.repeat(250) });
    const good = await decide(core, one, 1);
    assert.equal((await settled(good.id)).state, 'published');
    for (const [row, message] of [
      [below, /c\/d: another ref/],
      [above, /ref a: another ref/],
      [long, /too long/],
    ] as const) {
      const { state, message: text } = await settled(row.id);
      assert.equal(state, 'failed');
      assert.match(text ?? '', message);
    }
  });

  test('a repository that cannot be written now holds up no other, and is tried again', async (t) => {
    const { core, settled } = await setUp(t);
    const one = await store(core, { v: '1' });
    await writeFile(join(core.folder.repos, 'broken'), 'no folder');
    const stuck = await decide(core, one, 1, undefined, { repository: 'broken' });
    const good = await decide(core, one, 1);
    assert.equal((await settled(good.id)).state, 'published');
    const waits = core.db.selectFrom('releases').select('state').where('id', '=', stuck.id);
    assert.equal((await waits.executeTakeFirstOrThrow()).state, 'publishing');
    rmSync(join(core.folder.repos, 'broken'));
    core.publishing.notify();
    assert.equal((await settled(stuck.id)).state, 'published');
  });

  test('a release that fails leaves the channel to the one before it that still waits', async (t) => {
    const { core, settled, published } = await setUp(t);
    const [good, bad] = [await store(core, { v: '1' }), await store(core, { v: 'gone' })];
    const { contents } = bad.tree;
    rmSync(join(core.store.path, 'objects', contents.slice(0, 2), `${contents.slice(2)}.dirtree`));
    const [older, newer] = [await decide(core, good, 1), await decide(core, bad, 2)];
    assert.equal((await settled(newer.id)).state, 'failed');
    assert.equal((await settled(older.id)).state, 'published');
    assert.equal(await published(), good.commit);
  });

  test('at every moment the summary and the refs name only what is there, whole', async (t) => {
    const { core, settled } = await setUp(t);
    const repo = await createRepo(join(core.folder.repos, 'public'), { mode: 'archive' });
    let publishing = true;
    let looks = 0;
    const reader = (async () => {
      while (publishing) {
        const named = [...(await summaryRefs(repo)).map(([, commit]) => commit), await readRef(repo, CHANNEL.channel)];
        for (const commit of named) {
          if (commit === null) continue;
          assert.deepEqual(await hasClosure(repo, (await readCommit(repo, commit)).tree), []);
          looks += 1;
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    try {
      for (let run = 1; run <= 8; run += 1) {
        const files = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`d${i}/f`, `${run}-${i}`]));
        await settled((await decide(core, await store(core, files), run)).id);
      }
    } finally {
      publishing = false;
      await reader;
    }
    assert.ok(looks > 8);
  });
});

async function summaryRefs(repo: Repo): Promise<[string, string][]> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(join(repo.path, 'summary'));
  } catch {
    return [];
  }
  return [...decodeSummary(bytes).refs].map(([name, ref]) => [name, ref.commit]);
}
