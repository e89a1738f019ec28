import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Database, openDatabase } from '../database/open.ts';
import { ADMIN } from '../testing/callers.ts';
import { describeDatabases } from '../testing/databases.ts';
import { createAuditLog } from './audit.ts';
import { readAudit } from './audit-pages.ts';
import type { Caller } from './caller.ts';
import type { TokenWish } from './token-making.ts';
import { openTokens, type Token, type Tokens } from './tokens.ts';

const DAY = 24 * 3600;

describeDatabases('tokens', (fresh) => {
  interface Set {
    db: Database;
    tokens: Tokens;
    /** Reads all again, as a server that was started anew. */
    reopen(): Promise<Tokens>;
    pass(seconds: number): void;
    make(wish: Omit<TokenWish, 'name'> & { name?: string }, by?: Caller): Promise<{ token: Token; text: string }>;
    caller(text: string): Caller;
  }
  const withTokens = async (work: (set: Set) => Promise<void>) => {
    const db = await openDatabase(await fresh());
    let now = Date.UTC(2026, 0, 1);
    const open = () => openTokens({ db, audit: createAuditLog(db, () => now), now: () => now });
    const tokens = await open();
    let count = 0;
    try {
      const next = () => {
        count += 1;
        return `token-${count}`;
      };
      await work({
        ...{ db, tokens, reopen: open },
        pass: (seconds) => {
          now += seconds * 1000;
        },
        async make(wish, by = ADMIN) {
          const made = await tokens.create({ name: next(), ...wish }, by);
          return { token: made.token, text: made.text! };
        },
        caller(text) {
          const found = tokens.find(text);
          assert.ok(typeof found !== 'string', String(found));
          return tokens.callerOf(found, '192.0.2.2');
        },
      });
    } finally {
      await db.destroy();
    }
  };

  test('are known by their text, which is not kept, now and after a restart', () =>
    withTokens(async ({ db, tokens, make, reopen }) => {
      const { token, text } = await make({ role: 'viewer' });
      assert.ok(!JSON.stringify(await db.selectFrom('tokens').selectAll().execute()).includes(text));
      assert.ok(!JSON.stringify(await db.selectFrom('audit').selectAll().execute()).includes(text.slice(11, 30)));
      for (const known of [tokens, await reopen()]) {
        assert.deepEqual(known.find(text), token);
        assert.equal(known.find(`${text}x`), 'mistyped');
        assert.equal(known.find(text.slice(0, -1)), 'mistyped');
        assert.equal(known.find('n'.repeat(43)), 'unknown');
      }
    }));

  test('expire, and give their name up then', () =>
    withTokens(async ({ tokens, make, pass, reopen }) => {
      const { text } = await make({ name: 'ci', role: 'developer', expires: DAY });
      pass(DAY - 1);
      assert.equal(typeof tokens.find(text), 'object');
      await assert.rejects(make({ name: 'ci', role: 'viewer' }), { code: 'conflict' });
      pass(1);
      assert.equal(tokens.find(text), 'expired');
      const next = await make({ name: 'ci', role: 'viewer' });
      assert.equal((await reopen()).get('ci')?.row.id, next.token.row.id);
    }));

  test('do what their role says, and what is allowed by name beside it', () =>
    withTokens(async ({ make, caller }) => {
      const developer = caller((await make({ role: 'developer' })).text);
      assert.deepEqual(
        (['read', 'run', 'push', 'force', 'publish', 'administer'] as const).map((action) => developer.may(action)),
        [true, true, true, false, false, false],
      );
      const forcing = caller((await make({ role: 'developer', allow: ['force'] })).text);
      assert.ok(forcing.may('force', 'robot/edge') && forcing.may('push', 'robot/edge'));
      const publisher = caller((await make({ role: 'publisher' })).text);
      assert.ok(!publisher.may('force', 'robot/edge'));
    }));

  test('are held to their patterns', () =>
    withTokens(async ({ make, caller }) => {
      const ci = caller((await make({ role: 'publisher', on: ['robot/*', 'public:robot/**'] })).text);
      assert.ok(ci.may('push', 'robot/edge') && ci.may('publish', 'public:robot/a/b'));
      assert.ok(!ci.may('push', 'car/edge') && !ci.may('push', 'robot/a/b') && !ci.may('publish', 'other:robot/a'));
      // Runs and what the API shows have no ref; a private repository is read only where a pattern says so.
      assert.ok(ci.may('run') && ci.may('read') && ci.may('push'));
      assert.ok(!ci.may('read', 'public') && !ci.may('read', 'other'));
      const customer = caller((await make({ role: 'viewer', on: ['acme', 'shared:**'] })).text);
      assert.ok(customer.may('read', 'acme') && customer.may('read', 'shared'));
      assert.ok(!customer.may('read', 'other') && !customer.may('read', 'acme2') && !customer.may('read'));
    }));

  test('make narrower tokens, never wider ones', () =>
    withTokens(async ({ make, caller, tokens }) => {
      const by = caller(
        (await make({ role: 'publisher', on: ['robot/**', 'public:robot/*'], expires: 10 * DAY })).text,
      );
      const child = await make({ allow: ['push'], on: ['robot/edge'], expires: DAY }, by);
      const pusher = caller(child.text);
      assert.ok(pusher.may('push', 'robot/edge') && !pusher.may('push', 'robot/stable') && !pusher.may('read'));
      for (const wish of [
        { allow: ['force'] },
        { role: 'admin' },
        { role: 'operator' },
        { allow: ['push'], on: ['**'] },
        { allow: ['push'], on: ['robot/*', 'car/*'] },
        { allow: ['read'], on: ['public'] },
        { allow: ['read'], independent: true },
      ] as Omit<TokenWish, 'name'>[]) {
        await assert.rejects(make(wish, by), { code: 'forbidden' }, JSON.stringify(wish));
      }
      // Nothing said: the same, for as long. More time is cut down to what is left.
      const same = await make({ expires: 100 * DAY }, by);
      assert.equal(same.token.row.expires_at, tokens.get(by.token!)!.row.expires_at);
      assert.deepEqual(tokens.effective(same.token), tokens.effective(tokens.get(by.token!)!));
      // And so on: a grandchild.
      const last = await make({ on: ['robot/edge'] }, pusher);
      assert.deepEqual(tokens.effective(last.token), { actions: ['push'], patterns: ['robot/edge'] });
      await assert.rejects(make({ on: ['robot/stable'] }, pusher), { code: 'forbidden' });
    }));

  test('die with the one that they were made with, whether it is revoked or expires', () =>
    withTokens(async ({ make, caller, tokens, pass, reopen }) => {
      const parent = await make({ name: 'parent', role: 'admin', expires: 10 * DAY });
      const child = await make({ name: 'child' }, caller(parent.text));
      const grandchild = await make({ name: 'grandchild', role: 'viewer' }, caller(child.text));
      const apart = await make({ name: 'apart', independent: true, role: 'viewer' }, caller(parent.text));
      const asking = caller(grandchild.text);
      const ended = await tokens.revoke(child.token, ADMIN);
      assert.deepEqual(ended.map(({ row }) => row.name).sort(), ['child', 'grandchild']);
      assert.deepEqual(await tokens.revoke(child.token, ADMIN), []);
      // Also for a request that goes on.
      assert.ok(!asking.may('read'));
      for (const known of [tokens, await reopen()]) {
        assert.equal(known.find(child.text), 'revoked');
        assert.equal(known.find(grandchild.text), 'revoked');
        assert.equal(typeof known.find(parent.text), 'object');
      }
      pass(10 * DAY);
      assert.equal(tokens.find(parent.text), 'expired');
      assert.equal(typeof tokens.find(apart.text), 'object');
      // Nobody makes another from one that has ended.
      await assert.rejects(make({}, asking), { code: 'unauthenticated' });
    }));

  test('cannot be made from one that is revoked at the same moment', () =>
    withTokens(async ({ make, caller, tokens, reopen }) => {
      const parent = await make({ role: 'developer' });
      const by = caller(parent.text);
      const results = await Promise.allSettled([
        tokens.revoke(parent.token, ADMIN),
        ...Array.from({ length: 5 }, () => make({}, by)),
      ]);
      const texts = results.flatMap((result) =>
        result.status === 'fulfilled' && 'text' in result.value ? [result.value.text] : [],
      );
      for (const known of [tokens, await reopen()]) {
        assert.deepEqual(
          known.all().filter((token) => known.stateOf(token) === 'good'),
          [],
        );
        for (const text of texts) assert.equal(known.find(text), 'revoked');
      }
    }));

  test('of one name are made once, whoever asks at the same moment', () =>
    withTokens(async ({ make }) => {
      const results = await Promise.allSettled(Array.from({ length: 6 }, () => make({ name: 'ci', role: 'viewer' })));
      assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
      for (const result of results) if (result.status === 'rejected') assert.equal(result.reason.code, 'conflict');
    }));

  test('that would allow nothing, or patterns that would be no limit, or a name of the server, are refused', () =>
    withTokens(async ({ make }) => {
      await assert.rejects(make({}), { code: 'invalid-request' });
      await assert.rejects(make({ allow: [] }), { code: 'invalid-request' });
      await assert.rejects(make({ role: 'admin', on: ['robot/*'] }), { code: 'invalid-request' });
      for (const name of ['admin', 'runner', 'server']) {
        await assert.rejects(make({ name, role: 'viewer' }), { code: 'conflict' });
      }
    }));

  test('made from one token are bounded in number', () =>
    withTokens(async ({ make, caller, tokens }) => {
      const by = caller((await make({ role: 'viewer' })).text);
      for (let i = 0; i < 999; i += 1) await make({}, by);
      const last = await make({}, by);
      await assert.rejects(make({}, by), { code: 'conflict' });
      // Nor do they grow by way of those below.
      await assert.rejects(make({}, caller(last.text)), { code: 'conflict' });
      await make({ role: 'viewer' });
      await tokens.revoke(last.token, ADMIN);
      await make({}, by);
    }));

  test('can stand for a certificate, and have no text then', () =>
    withTokens(async ({ make, tokens }) => {
      const { token, text } = await make({ name: 'mirror', role: 'viewer', certificateName: 'mirror.example.org' });
      assert.equal(text, null);
      assert.deepEqual(tokens.findCertificate('mirror.example.org'), token);
      assert.equal(tokens.findCertificate('other.example.org'), 'unknown');
      const twice = make({ role: 'viewer', certificateName: 'mirror.example.org' });
      await assert.rejects(twice, { code: 'conflict' });
      await tokens.revoke(token, ADMIN);
      assert.equal(tokens.findCertificate('mirror.example.org'), 'revoked');
      await make({ role: 'viewer', certificateName: 'mirror.example.org' });
      // Texts that begin like its id open nothing: it has no hash to be equal to.
      assert.equal(tokens.find(`tl_${token.row.id}${'0'.repeat(38)}`), 'mistyped');
    }));

  test('remember when and from where they were used, and are forgotten a month after their end', () =>
    withTokens(async ({ make, caller, tokens, pass, reopen }) => {
      const { token, text } = await make({ role: 'viewer', expires: DAY });
      const child = await make({ role: 'viewer' }, caller(text));
      await tokens.tidy();
      const row = (await reopen()).get(token.row.id)!.row;
      assert.equal(row.last_used_from, '192.0.2.2');
      assert.equal(row.last_used_at, row.created_at);
      pass(32 * DAY);
      await tokens.tidy();
      assert.equal(tokens.get(token.row.id), null);
      assert.equal(tokens.get(child.token.row.id), null);
      assert.deepEqual((await reopen()).all(), []);
    }));

  test('are in the audit log, with the change: who, what, from where and when', () =>
    withTokens(async ({ db, make, caller, tokens, pass }) => {
      const { token, text } = await make({ name: 'ci', role: 'publisher' });
      pass(60);
      const child = await make({ name: 'night', allow: ['read'] }, caller(text));
      await tokens.revoke(token, ADMIN);
      const { entries } = await readAudit(db, { limit: 10 });
      assert.deepEqual(
        entries.map(({ actor, address, action, subject, token: id }) => [actor, address, action, subject, id]),
        [
          ['admin', '192.0.2.1', 'token.revoke', 'ci', null],
          ['ci', '192.0.2.2', 'token.create', 'night', token.row.id],
          ['admin', '192.0.2.1', 'token.create', 'ci', null],
        ],
      );
      assert.deepEqual(entries[0]!.data, { id: token.row.id, withIt: ['night'] });
      assert.equal(entries[1]!.data.parent, token.row.id);
      assert.equal(entries[1]!.data.id, child.token.row.id);
      assert.equal(Date.parse(entries[1]!.at) - Date.parse(entries[2]!.at), 60_000);
    }));

  test('the audit log is read in pages, filtered', () =>
    withTokens(async ({ db, make, caller, pass }) => {
      const { text } = await make({ name: 'maker', role: 'publisher' });
      const start = Date.UTC(2026, 0, 1);
      const by = caller(text);
      for (let i = 0; i < 7; i += 1) {
        pass(1);
        await make({ name: `t${i}`, role: 'viewer' }, by);
      }
      await createAuditLog(db).record({ caller: null, action: 'release.publish', subject: 'public:robot/edge' });
      const subjects: string[] = [];
      let before: number | undefined;
      do {
        const page = await readAudit(db, { actor: 'maker', limit: 3, before });
        subjects.push(...page.entries.map((entry) => entry.subject));
        before = page.next ?? undefined;
      } while (before !== undefined);
      assert.deepEqual(subjects, ['t6', 't5', 't4', 't3', 't2', 't1', 't0']);
      const count = async (filter: object) => (await readAudit(db, { limit: 100, ...filter })).entries.length;
      assert.equal(await count({ action: 'token.create' }), 8);
      assert.equal(await count({ action: 'token.' }), 8);
      assert.equal(await count({ action: 'release.' }), 1);
      assert.equal(await count({ action: 'token.creat' }), 0);
      assert.equal(await count({ subject: 'public:robot/edge' }), 1);
      assert.equal(await count({ address: '192.0.2.2' }), 7);
      assert.equal(await count({ since: start + 3000, until: start + 5000 }), 3);
    }));
});
