import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventLog } from '../events/log.ts';
import { describeDatabases } from '../testing/databases.ts';
import { scratch } from '../testing/scratch.ts';
import { nextNumber } from './counter.ts';
import { lockDatabase } from './lock.ts';
import { type Database, openDatabase } from './open.ts';

describeDatabases('the database', (fresh) => {
  const withDatabase = async (work: (db: Database, url: string) => Promise<void>) => {
    const url = await fresh();
    const db = await openDatabase(url);
    try {
      await work(db, url);
    } finally {
      await db.destroy();
    }
  };

  test('keeps what was written when it is opened again', () =>
    withDatabase(async (db, url) => {
      await db.insertInto('secrets').values({ name: 'admin', hash: 'aa', created_at: 1_790_000_000_000 }).execute();
      const again = await openDatabase(url);
      const row = await again.selectFrom('secrets').selectAll().executeTakeFirstOrThrow();
      await again.destroy();
      assert.deepEqual({ ...row }, { name: 'admin', hash: 'aa', created_at: 1_790_000_000_000 });
    }));

  test('belongs to one server at a time', async () => {
    const url = await fresh();
    if (url.startsWith('sqlite:')) return;
    const unlock = await lockDatabase(url);
    await assert.rejects(lockDatabase(url), { code: 'data-folder-busy' });
    await unlock();
    await (await lockDatabase(url))();
  });

  test('numbers a series without gaps or repetitions, whoever asks at once', () =>
    withDatabase(async (db) => {
      const numbers = await Promise.all(
        Array.from({ length: 30 }, () => db.transaction().execute((trx) => nextNumber(trx, 'runs'))),
      );
      assert.deepEqual(
        numbers.sort((a, b) => a - b),
        Array.from({ length: 30 }, (_, i) => i + 1),
      );
    }));

  test('gives the number of a transaction that failed to the next one', () =>
    withDatabase(async (db) => {
      const failing = db.transaction().execute(async (trx) => {
        await nextNumber(trx, 'releases');
        throw new RangeError('not today');
      });
      await assert.rejects(failing, RangeError);
      assert.equal(await db.transaction().execute((trx) => nextNumber(trx, 'releases')), 1);
    }));

  test('shows a reader every event, in order, while others write', () =>
    withDatabase(async (db) => {
      const events = createEventLog(db);
      const seen: number[] = [];
      let writing = true;
      const reader = (async () => {
        for (let last = 0, done = false; !done; ) {
          done = !writing;
          const news = await events.since(last);
          seen.push(...news.map((event) => event.id));
          last = news.at(-1)?.id ?? last;
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          db.transaction().execute(async (trx) => {
            await events.append('test.one', { i }, trx);
            await events.append('test.two', { i }, trx);
          }),
        ),
      ).finally(() => {
        writing = false;
      });
      await reader;
      assert.deepEqual(
        seen,
        Array.from({ length: 40 }, (_, i) => i + 1),
      );
    }));

  test('reads counts and times as numbers', () =>
    withDatabase(async (db) => {
      await createEventLog(db).append('test.event', { text: 'ü\u{1F332}' });
      const row = await db
        .selectFrom('events')
        .select(['created_at', (eb) => eb.fn.countAll<number>().as('count')])
        .groupBy('created_at')
        .executeTakeFirstOrThrow();
      assert.equal(typeof row.created_at, 'number');
      assert.equal(typeof row.count, 'number');
      const [event] = await createEventLog(db).since(0);
      assert.deepEqual(event?.data, { text: 'ü\u{1F332}' });
    }));
});

test('an unknown kind of database URL is refused without showing what is in it', async () => {
  await assert.rejects(openDatabase('mysql://root:secret@host/db'), (error: Error) => {
    assert.match(error.message, /mysql/);
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

test('a database in a folder that is not there is an error that names it', async (t) => {
  const path = `${scratch(t)}/none/x.db`;
  await assert.rejects(openDatabase(`sqlite:${path}`), { code: 'unavailable', message: new RegExp(path) });
});

test('SQLite commits are on disk: write-ahead log, synchronous FULL, foreign keys on', async (t) => {
  const db = await openDatabase(`sqlite:${scratch(t)}/x.db`);
  t.after(() => db.destroy());
  const { sql } = await import('kysely');
  const pragma = async (name: string) => (await sql.raw<Record<string, unknown>>(`pragma ${name}`).execute(db)).rows[0];
  assert.deepEqual(await pragma('journal_mode'), { journal_mode: 'wal' });
  assert.deepEqual(await pragma('synchronous'), { synchronous: 2 });
  assert.deepEqual(await pragma('foreign_keys'), { foreign_keys: 1 });
});
