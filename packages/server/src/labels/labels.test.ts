import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Metadata, withTransaction, writeCommit } from '@treeline/ostree';
import { runPublisher } from '../publish/publisher.ts';
import type { SettingsFragment } from '../settings.ts';
import { createTestCore } from '../testing/core.ts';
import { describeDatabases } from '../testing/databases.ts';
import { BY, decideByHand, ended, publishTogether, type Stored, storeCommit } from '../testing/publishing.ts';
import { EMPTY_FOLDER } from './own.ts';
import { removeLabel, setLabel } from './set.ts';
import { traceLabels } from './trace.ts';

const key = 'd'.repeat(64);
const why = { reason: 'test', by: BY };

describeDatabases('labels', (fresh) => {
  const setUp = async (t: TestContext, settings: SettingsFragment = {}) => {
    const core = await createTestCore(t, { database: await fresh(), ...settings });
    let publisher: Promise<void> | undefined;
    t.after(() => publisher);
    const ways = async ({ commit }: Stored) => {
      const deps = { db: core.db, origins: core.origins, defaultLabel: core.settings.defaultLabel };
      const { labels } = await traceLabels(deps, commit);
      return labels.map(({ label, path }) => `${path.join(' <- ')}: ${label}`);
    };
    const commitOn = (stored: Stored, o: { parent?: string; metadata?: Metadata; subject?: string }): Promise<string> =>
      withTransaction(core.store, (tx) => writeCommit(tx, { tree: stored.tree, subject: 'again', ...o }));
    const label = (on: Stored, text: string) => setLabel(core, { kind: 'commit', ...on }, { label: text, ...why });
    const start = () => {
      publisher ??= runPublisher(core);
    };
    return { core, ways, commitOn, label, start };
  };
  const short = (commit: string) => `commit ${commit.slice(0, 10)}`;

  test('a label belongs to the tree: another commit of it has it, too, and taking it off takes it off both', async (t) => {
    const { core, ways, commitOn, label } = await setUp(t);
    const one = await storeCommit(core, { blob: 'x' });
    const two = { ...one, commit: await commitOn(one, { subject: 'other' }) };
    await label(one, 'restricted:nda');
    assert.deepEqual(await ways(two), [`${short(two.commit)}: restricted:nda`]);
    await removeLabel(core, { kind: 'commit', ...two }, { label: 'restricted:nda', ...why });
    assert.deepEqual(await ways(one), [`${short(one.commit)}: public`]);
    await assert.rejects(removeLabel(core, { kind: 'commit', ...two }, { label: 'restricted:nda', ...why }), {
      code: 'not-found',
    });
  });

  test('a restricted tree inside of a pushed commit is found by its checksum, wherever it was put', async (t) => {
    const { core, ways, label } = await setUp(t);
    const secret = await storeCommit(core, { blob: 'x', 'more/of': 'it' });
    const inside = await storeCommit(core, { app: 'ours', 'usr/lib/vendor/blob': 'x', 'usr/lib/vendor/more/of': 'it' });
    assert.deepEqual(await ways(inside), [`${short(inside.commit)}: public`]);
    await label(secret, 'restricted:nda');
    assert.deepEqual(await ways(inside), [
      `${short(inside.commit)}: public`,
      `${short(inside.commit)} <- its /usr/lib/vendor: restricted:nda`,
    ]);
    const part = await storeCommit(core, { 'usr/lib/vendor/blob': 'x' });
    assert.deepEqual(await ways(part), [`${short(part.commit)}: public`]);
  });

  test('trees without anything in them are equal by chance: a label on one is its commit’s alone', async (t) => {
    const { core, ways, commitOn, label } = await setUp(t);
    const tree = await withTransaction(core.store, async (tx) => tx.emptyTree());
    assert.equal(tree.contents, EMPTY_FOLDER);
    const one = { tree, commit: '' };
    one.commit = await commitOn(one, { subject: 'one' });
    const two = { tree, commit: await commitOn(one, { subject: 'two' }) };
    await label(one, 'internal');
    assert.deepEqual(
      [await ways(one), await ways(two)],
      [[`${short(one.commit)}: internal`], [`${short(two.commit)}: public`]],
    );
  });

  test('a commit that came by a push inherits from its parents, has the default label, and may lack old parents', async (t) => {
    const { core, ways, commitOn, label } = await setUp(t, { defaultLabel: 'internal' });
    const base = await storeCommit(core, { v: 'base' });
    const middle = { ...(await storeCommit(core, { v: 'middle' })), commit: '' };
    middle.commit = await commitOn(middle, { parent: base.commit });
    const top = { ...(await storeCommit(core, { v: 'top' })), commit: '' };
    top.commit = await commitOn(top, { parent: middle.commit });
    await label(base, 'restricted:nda');
    assert.deepEqual(await ways(top), [
      `${short(top.commit)}: internal`,
      `${short(top.commit)} <- ${short(middle.commit)} <- ${short(base.commit)}: restricted:nda`,
    ]);
    await label(top, 'public');
    rmSync(join(core.store.path, 'objects', base.commit.slice(0, 2), `${base.commit.slice(2)}.commit`));
    // What it was labelled is known, whether it is there or not.
    assert.deepEqual(await ways(top), [
      `${short(top.commit)}: public`,
      `${short(top.commit)} <- ${short(middle.commit)}: internal`,
      `${short(top.commit)} <- ${short(middle.commit)} <- ${short(base.commit)}: restricted:nda`,
    ]);
  });

  test('what a pushed commit says of itself adds labels and takes none away', async (t) => {
    const { core, ways, commitOn, label } = await setUp(t);
    const blob = await storeCommit(core, { blob: 'x' });
    await label(blob, 'restricted:nda');
    const provenance = {
      ...{ project: 'system', job: 'system', artifact: 'system', key, run: 'run-1', sources: [] },
      inputs: [{ name: 'vendor/drivers', commit: blob.commit }],
    };
    const forged = { ...(await storeCommit(core, { image: 'x' })), commit: '' };
    const metadata: Metadata = [['treeline.provenance', { type: 's', value: JSON.stringify(provenance) }]];
    forged.commit = await commitOn(forged, { metadata });
    const declared = async () => ({
      ...{ project: 'system', artifact: 'system', repository: 'public', because: 'x' },
      ...{ revision: 'r', file: 'treeline.yaml', line: 1 },
    });
    const deps = { db: core.db, origins: core.origins, defaultLabel: 'public', declared };
    const { labels, met } = await traceLabels(deps, forged.commit);
    assert.deepEqual([labels.map((one) => one.label), met], [['public', 'restricted:nda'], []]);
    assert.match((await ways(forged))[1] ?? '', /^system\/system \(says commit \w+\) <- commit \w+: restricted:nda$/);
    await setLabel(core, { kind: 'name', name: 'system' }, { label: 'internal', ...why });
    assert.deepEqual(
      (await traceLabels(deps, forged.commit)).labels.map((one) => one.label),
      ['internal', 'restricted:nda'],
    );
  });

  test('a commit that was made from something that is lost cannot be vouched for', async (t) => {
    const { core, ways, commitOn, start } = await setUp(t);
    start();
    const provenance = {
      ...{ project: 'system', job: 'system', artifact: 'system', key, run: 'run-1', sources: [] },
      inputs: [{ name: 'vendor/drivers', commit: 'e'.repeat(64) }],
    };
    const made = { ...(await storeCommit(core, { image: 'x' })), commit: '' };
    made.commit = await commitOn(made, {
      metadata: [['treeline.provenance', { type: 's', value: JSON.stringify(provenance) }]],
    });
    assert.match((await ways(made)).at(-1) ?? '', /<- commit eeeeeeeeee: restricted:of unknown origin$/);
    await assert.rejects(publishTogether(core, { a: made }), {
      code: 'unprocessable',
      message: /public does not admit .* <- commit eeeeeeeeee \(restricted:of unknown origin\)/,
    });
  });

  test('a label that is set while deltas are made stops the release before its refs move', async (t) => {
    const { core, label } = await setUp(t);
    const stop = new AbortController();
    const signal = AbortSignal.any([core.signal, stop.signal]);
    const one = await storeCommit(core, { v: '1' });
    const { publication } = await decideByHand(core, { 'robot/edge': one });
    const running = runPublisher(
      { ...core, signal },
      {
        checkpoint: async (step) => {
          if (step === 'refs') await label(one, 'restricted:recalled');
        },
      },
    );
    const end = await ended(core, publication.number);
    assert.equal(end.publication.state, 'failed');
    assert.match(end.publication.message ?? '', /public does not admit commit \w+ \(restricted:recalled\)/);
    assert.equal((await core.db.selectFrom('releases').select('state').execute())[0]?.state, 'failed');
    // It had been copied by then; who knows its checksum must not get it.
    const objects = join(core.repositories.find('public')!.path, 'objects');
    const left = readdirSync(objects).flatMap((prefix) => readdirSync(join(objects, prefix)));
    assert.deepEqual(left, []);
    stop.abort();
    await running;
  });

  test('a long history is walked in time, and what two ways lead to is told once', async (t) => {
    const { core, ways, commitOn, label } = await setUp(t);
    const base = await storeCommit(core, { v: 'base' });
    await label(base, 'internal');
    let parent = base.commit;
    const other = await storeCommit(core, { v: 'other' });
    for (let i = 0; i < 300; i += 1) parent = await commitOn(other, { parent, subject: String(i) });
    const top = { ...other, commit: parent };
    await label(other, 'public');
    const found = await ways(top);
    assert.equal(found.length, 2);
    assert.equal(found[1]?.split(' <- ').length, 301);
  });
});
