import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Checksum, type RefMove, readRef, setRef } from '@treeline/ostree';
import type { Core } from '../core.ts';
import { createTestCore } from '../testing/core.ts';
import { describeDatabases } from '../testing/databases.ts';
import { storeCommit } from '../testing/publishing.ts';
import { recordMove, recoverMoves } from './record.ts';

const BY = { name: 'ann', address: '192.0.2.7', token: 'tl_12345678' };
const REF = 'os/main';

describeDatabases('the move of a ref', (fresh) => {
  const setUp = async (t: TestContext) => {
    const core = await createTestCore(t, { database: await fresh() });
    const [one, two] = [(await storeCommit(core, { v: '1' })).commit, (await storeCommit(core, { v: '2' })).commit];
    await setRef(core.store, REF, one);
    const move: RefMove = { ref: REF, from: one, to: two, forced: false, metadata: false };
    return { core, one, two, move };
  };

  test('is in the audit log when it has happened, and nothing is left to find out', async (t) => {
    const { core, one, two, move } = await setUp(t);
    await recordMove(core, BY, move, () => setRef(core.store, REF, two));
    const expected = { actor: 'ann', address: '192.0.2.7', token: 'tl_12345678', subject: REF };
    assert.deepEqual(await audited(core), [{ ...expected, data: { commit: two, from: one, forced: false } }]);
    await recoverMoves(core);
    assert.equal((await audited(core)).length, 1);
    assert.equal((await pushed(core)).length, 1);
  });

  test('is written down at the next start when the server was killed just after it', async (t) => {
    const { core, one, two, move } = await setUp(t);
    await killed((reached) =>
      recordMove(core, BY, move, async () => {
        await setRef(core.store, REF, two);
        return reached();
      }),
    );
    assert.equal(await readRef(core.store, REF), two);
    assert.deepEqual(await audited(core), []);
    await recoverMoves(core);
    const [entry, ...more] = await audited(core);
    assert.deepEqual(more, []);
    assert.deepEqual([entry!.actor, entry!.address, entry!.token], ['ann', '192.0.2.7', 'tl_12345678']);
    const { noted, ...data } = entry!.data;
    assert.deepEqual(data, { commit: two, from: one, forced: false });
    assert.ok(Date.parse(String(noted)) <= Date.now());
    await recoverMoves(core);
    assert.deepEqual([(await audited(core)).length, (await pushed(core)).length], [1, 1]);
  });

  test('is not written down when the server was killed just before it', async (t) => {
    const { core, one, move } = await setUp(t);
    await killed((reached) => recordMove(core, BY, move, reached));
    await recoverMoves(core);
    assert.equal(await readRef(core.store, REF), one);
    assert.deepEqual([await audited(core), await pushed(core)], [[], []]);
    assert.deepEqual(await core.db.selectFrom('ref_moves').selectAll().execute(), []);
  });

  test('is written down as uncertain when somebody has moved the ref since by other means', async (t) => {
    const { core, move } = await setUp(t);
    const { commit: other } = await storeCommit(core, { v: '3' });
    await killed((reached) => recordMove(core, BY, move, reached));
    await setRef(core.store, REF, other);
    await recoverMoves(core);
    assert.deepEqual(
      (await audited(core)).map(({ data }) => data.uncertain),
      [true],
    );
  });

  test('that fails leaves nothing behind; one that fails after the ref has moved is written down', async (t) => {
    const { core, two, move } = await setUp(t);
    const full = new Error('the disk is full');
    await assert.rejects(
      recordMove(core, BY, move, async () => {
        throw full;
      }),
      full,
    );
    assert.deepEqual(await audited(core), []);
    await assert.rejects(
      recordMove(core, BY, move, async () => {
        await setRef(core.store, REF, two);
        throw full;
      }),
      full,
    );
    assert.equal((await audited(core)).length, 1);
    assert.deepEqual(await core.db.selectFrom('ref_moves').selectAll().execute(), []);
  });
});

/** What a kill leaves at the moment when `reached` is called: whoever called it goes on no more. */
async function killed(work: (reached: () => Promise<never>) => Promise<void>): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const reached = () => {
      resolve();
      return new Promise<never>(() => {});
    };
    work(reached).then(() => reject(new Error('it was not reached')), reject);
  });
}

async function audited(core: Core) {
  const rows = await core.db.selectFrom('audit').selectAll().where('action', '=', 'ref.push').execute();
  return rows.map(({ actor, address, token, subject, data }) => {
    const read = JSON.parse(data) as { commit: Checksum; noted?: string; uncertain?: boolean };
    return { actor, address, token, subject, data: read };
  });
}

const pushed = (core: Core) => core.db.selectFrom('events').select('id').where('type', '=', 'ref.pushed').execute();
