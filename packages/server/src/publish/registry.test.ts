import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Core } from '../core.ts';
import { createTestCore } from '../testing/core.ts';
import { describeDatabases } from '../testing/databases.ts';
import { makeKey } from './keys.ts';
import { openRepositories, type RepositoryRegistry } from './registry.ts';

const BY = { name: 'ann', address: '10.0.0.7' };

const reopen = (core: Core, publicNames: readonly string[] = []): Promise<RepositoryRegistry> =>
  openRepositories({ ...core, publicNames });

const audited = async (core: Core) =>
  (await core.db.selectFrom('audit').selectAll().orderBy('id').execute()).map(
    ({ actor, address, action, subject }) => ({
      ...{ actor, address, action, subject },
    }),
  );

describeDatabases('repositories', (fresh) => {
  test('those of the settings are public from the start; one that is named by nobody is private, and said so', async (t) => {
    const core = await createTestCore(t, { database: await fresh(), publicRepositories: ['public'] });
    assert.equal(core.repositories.accessOf('public'), 'public');
    assert.equal(core.repositories.accessOf('partners'), null);
    const made = await core.repositories.ensure('partners', 'system/system is published to it');
    assert.deepEqual([made.settings.access, made.settings.admits], ['private', ['public']]);
    assert.equal(core.repositories.accessOf('partners'), 'private');
    assert.ok(existsSync(join(made.path, 'config')));
    const [, event] = (await core.events.since(0)).filter(({ type }) => type === 'repository.added');
    assert.deepEqual(event?.data, {
      repository: 'partners',
      access: 'private',
      why: 'system/system is published to it',
    });
    await core.repositories.ensure('partners', 'again');
    assert.equal((await core.events.since(0)).filter(({ type }) => type === 'repository.added').length, 2);
  });

  test('settings are merged, kept over a restart, and each change is audited with who and from where', async (t) => {
    const core = await createTestCore(t, { database: await fresh(), publicRepositories: [] });
    await core.repositories.add('partners', { admits: ['internal'] }, BY);
    await assert.rejects(core.repositories.add('partners', {}, BY), { code: 'conflict' });
    await core.repositories.set('partners', { deltas: { most: 3 } }, BY);
    await core.repositories.set('partners', { deltas: { previous: 4 }, access: 'public' }, BY);
    await assert.rejects(core.repositories.set('none', {}, BY), { code: 'not-found' });
    for (const registry of [core.repositories, await reopen(core)]) {
      const { settings } = registry.find('partners')!;
      assert.deepEqual(settings.deltas, { previous: 4, devices: true, most: 3 });
      assert.deepEqual([settings.access, settings.admits], ['public', ['internal']]);
    }
    const by = { actor: 'ann', address: '10.0.0.7', subject: 'partners' };
    assert.deepEqual(await audited(core), [
      { ...by, action: 'repository.add' },
      { ...by, action: 'repository.set' },
      { ...by, action: 'repository.set' },
    ]);
  });

  test('a key that cannot sign is refused at once, by its name; one that can is taken', async (t) => {
    const core = await createTestCore(t, { database: await fresh(), publicRepositories: ['public'] });
    const key = await makeKey(core, 'release', BY);
    assert.equal(statSync(join(core.folder.keys, 'release')).mode & 0o777, 0o600);
    await assert.rejects(makeKey(core, 'release', BY), { code: 'conflict' });
    const signing = [{ type: 'ed25519' as const, file: 'release' }];
    const { settings, refresh } = await core.repositories.set('public', { signing }, BY);
    assert.deepEqual([settings.signing, refresh], [signing, true]);
    assert.equal(Buffer.from(key.publicKey, 'base64').length, 32);
    writeFileSync(join(core.folder.keys, 'noise'), 'noise\n');
    for (const file of ['none', 'noise']) {
      await assert.rejects(core.repositories.set('public', { signing: [{ type: 'ed25519', file }] }, BY), {
        code: 'unprocessable',
        message: new RegExp(`ed25519:${file} cannot sign`),
      });
    }
    assert.deepEqual(core.repositories.find('public')?.settings.signing, signing);
  });

  test('one that is removed is gone with its channels, and nothing of it comes back with its name', async (t) => {
    const core = await createTestCore(t, { database: await fresh(), publicRepositories: [] });
    const { path } = await core.repositories.add('partners', {}, BY);
    writeFileSync(join(path, 'secret'), 'x');
    await core.db.insertInto('releases').values(release('partners')).execute();
    await core.db.insertInto('devices').values(device('board-1', 'partners')).execute();
    await assert.rejects(core.repositories.remove('partners', BY, { force: false }), {
      code: 'conflict',
      message: /1 devices follow partners: board-1/,
    });
    await core.repositories.remove('partners', BY, { force: true });
    assert.equal(core.repositories.accessOf('partners'), null);
    assert.deepEqual(readdirSync(core.folder.repos), []);
    const { state } = await core.db.selectFrom('releases').select('state').executeTakeFirstOrThrow();
    assert.equal(state, 'withdrawn');
    await assert.rejects(core.repositories.remove('partners', BY, { force: true }), { code: 'not-found' });
    await core.repositories.add('partners', {}, BY);
    assert.ok(!existsSync(join(path, 'secret')));
  });

  test('at the start: what a crash left of a removal goes, a lost folder is made anew, older releases keep their repository', async (t) => {
    const core = await createTestCore(t, { database: await fresh(), publicRepositories: ['public'] });
    mkdirSync(join(core.folder.repos, '.removed-old-1'));
    rmSync(join(core.folder.repos, 'public'), { recursive: true });
    await core.db.insertInto('releases').values(release('inherited')).execute();
    const registry = await reopen(core, ['public']);
    assert.deepEqual(readdirSync(core.folder.repos).sort(), ['inherited', 'public']);
    assert.deepEqual([registry.accessOf('inherited'), registry.accessOf('public')], ['private', 'public']);
    assert.equal(registry.find('public')?.refresh, true);
  });
});

function release(repository: string) {
  const [commit, contents, meta] = ['a', 'b', 'c'].map((digit) => digit.repeat(64)) as [string, string, string];
  return {
    ...{ id: 'release-1', number: 1, repository, channel: 'robot/edge', commit, contents, meta },
    ...{ state: 'published' as const, run_number: 0, reason: 'test', created_at: 1, published_at: 2 },
  };
}

function device(id: string, repository: string) {
  return { id, repository, public_key: '', accepted: 1, key_change_allowed: 0, state: '', created_at: 1 };
}
