import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
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
import type { Core } from '../core.ts';
import { channelHead, listReleases } from '../reading/releases.ts';
import { createTestCore } from '../testing/core.ts';
import { describeDatabases } from '../testing/databases.ts';
import { storeFiles } from '../testing/runner.ts';
import { publishByHand } from './by-hand.ts';
import { decideRelease } from './decide.ts';
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

const decide = (core: Core, stored: Stored, run: number | null, expect?: string | null): Promise<ReleaseRow> =>
  core.db.transaction().execute((trx) =>
    decideRelease(trx, core, {
      ...CHANNEL,
      ...stored,
      run: run === null ? null : { id: `run-${run}`, number: run },
      artifact: null,
      reason: 'test',
      ...(expect === undefined ? {} : { expect }),
    }),
  );

describeDatabases('publishing', (fresh) => {
  const setUp = async (t: TestContext) => {
    const core = await createTestCore(t, { database: await fresh() });
    let publisher: Promise<void> | null = null;
    t.after(() => publisher);
    const settled = async (id: string): Promise<ReleaseRow> => {
      publisher ??= runPublisher(core);
      for (;;) {
        const row = await core.db.selectFrom('releases').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
        if (row.state !== 'publishing') return row;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
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
    const row = await publishByHand(core, {
      ...CHANNEL,
      commit: one.commit,
      expect: two.commit,
      artifact: null,
      reason: 'back',
    });
    assert.equal(row.state, 'published');
    assert.equal(await published(), one.commit);
    // Runs that had begun by then do not undo it; later ones go on.
    assert.equal((await decide(core, two, 1)).state, 'abandoned');
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
    for (let run = 1; run <= 8; run += 1) {
      const files = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`d${i}/f`, `${run}-${i}`]));
      await settled((await decide(core, await store(core, files), run)).id);
    }
    publishing = false;
    await reader;
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
