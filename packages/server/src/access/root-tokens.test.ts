import assert from 'node:assert/strict';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { openDatabase } from '../database/open.ts';
import { scratch } from '../testing/scratch.ts';
import { openRootTokens } from './root-tokens.ts';

async function setUp(t: Parameters<typeof scratch>[0]) {
  const folder = scratch(t);
  const db = await openDatabase(`sqlite:${folder}/x.db`);
  t.after(() => db.destroy());
  const files = { admin: `${folder}/admin-token`, runner: `${folder}/runner-token` };
  const read = (name: keyof typeof files) => readFileSync(files[name], 'utf8').trim();
  return { db, files, read };
}

test('the first start makes tokens in files of mode 0600; the database has only hashes', async (t) => {
  const { db, files, read } = await setUp(t);
  const tokens = await openRootTokens(db, files);
  assert.deepEqual(tokens.made, ['admin', 'runner']);
  assert.equal(statSync(files.admin).mode & 0o777, 0o600);
  assert.equal(statSync(files.runner).mode & 0o777, 0o600);
  assert.notEqual(read('admin'), read('runner'));
  const stored = JSON.stringify(await db.selectFrom('secrets').selectAll().execute());
  assert.ok(!stored.includes(read('admin')) && !stored.includes(read('runner')));
});

test('each token is known as its own, and nothing else is', async (t) => {
  const { db, files, read } = await setUp(t);
  const tokens = await openRootTokens(db, files);
  assert.equal(tokens.check(read('admin')), 'admin');
  assert.equal(tokens.check(read('runner')), 'runner');
  for (const wrong of ['', 'x', read('admin').slice(1), `${read('admin')}x`, read('admin').toUpperCase()]) {
    assert.equal(tokens.check(wrong), null);
  }
});

test('a later start keeps the tokens, and makes no new admin token when its file was put elsewhere', async (t) => {
  const { db, files, read } = await setUp(t);
  await openRootTokens(db, files);
  const admin = read('admin');
  rmSync(files.admin);
  const again = await openRootTokens(db, files);
  assert.deepEqual(again.made, []);
  assert.equal(again.check(admin), 'admin');
});

test('a token file that its owner replaced is the token from then on', async (t) => {
  const { db, files, read } = await setUp(t);
  await openRootTokens(db, files);
  const before = read('admin');
  writeFileSync(files.admin, `${'n'.repeat(43)}\n`);
  const again = await openRootTokens(db, files);
  assert.equal(again.check('n'.repeat(43)), 'admin');
  assert.equal(again.check(before), null);
});
