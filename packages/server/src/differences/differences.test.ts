import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTestCore } from '../testing/core.ts';
import { createDifferences } from './differences.ts';

const ANN = { kind: 'user', name: 'ann', address: null, session: null, may: () => true } as never;

test('a device is asked, answers the newest question once, and nobody else is', async (t) => {
  const core = await createTestCore(t);
  const differences = createDifferences(core);
  await assert.rejects(differences.ask('robot-1', ANN), { code: 'not-found' });
  await core.db
    .insertInto('devices')
    .values({
      ...{ id: 'robot-1', public_key: 'k', accepted: 1, key_change_allowed: 0, token_hash: null, channel: null },
      ...{ repository: 'public', hardware_id: null, state: '', reason: null, release: null, rolled_back_from: null },
      ...{ current_commit: null, current_target: null, offered_commit: null, last_seen: null, created_at: 1 },
      ...{ address: null, fetched_from: null },
    })
    .execute();
  assert.equal((await differences.read('robot-1')).state, 'none');
  assert.equal(await differences.waiting('robot-1'), null);
  await differences.ask('robot-1', ANN);
  const first = await differences.waiting('robot-1');
  await differences.ask('robot-1', ANN);
  const second = await differences.waiting('robot-1');
  assert.ok(first && second && first !== second);
  const change = {
    ...{ path: '/etc/speed', change: 'changed' as const, type: 'file' as const, mode: 0o644, uid: 0, gid: 0, size: 4 },
    ...{ target: null, content: 'ZmFzdA==', omitted: null, differs: ['content' as const] },
    xattrs: [{ name: 'user.note', value: 'Zm9y' }],
  };
  const answer = { commit: 'a'.repeat(64), changes: [change], complete: true };
  await differences.answer('robot-1', { request: first, ...answer });
  assert.equal((await differences.read('robot-1')).state, 'waiting', 'an answer to an older question is none');
  await differences.answer('robot-1', { request: second, ...answer });
  const read = await differences.read('robot-1');
  assert.equal(read.state, 'answered');
  assert.equal(read.by, 'ann');
  assert.deepEqual(read.changes, [change]);
  const { differs, xattrs, ...older } = change;
  assert.ok(differs && xattrs);
  const stored = JSON.stringify({ request: second, ...answer, changes: [older] });
  await core.db.updateTable('device_differences').set({ answer: stored }).execute();
  assert.deepEqual((await differences.read('robot-1')).changes, [{ ...older, differs: [], xattrs: null }]);
  assert.equal(await differences.waiting('robot-1'), null);
});
