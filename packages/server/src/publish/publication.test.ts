import assert from 'node:assert/strict';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  addRemote,
  createRepo,
  decodeSummary,
  hasObject,
  listDeltas,
  listRefs,
  openRepo,
  pull,
  readDetachedMetadata,
  serveRepository,
  setRef,
} from '@treeline/ostree';
import { gpgHome } from '@treeline/ostree/testing/gpg.ts';
import { until } from '@treeline/ostree/testing/until.ts';
import { listReleases } from '../reading/releases.ts';
import { createTestCore } from '../testing/core.ts';
import { describeDatabases } from '../testing/databases.ts';
import {
  BY,
  decideByHand,
  ended,
  ostree,
  publishedRepo,
  publishTogether,
  type Stored,
  storeCommit,
} from '../testing/publishing.ts';
import { scratch } from '../testing/scratch.ts';
import { publishByHand } from './by-hand.ts';
import { cancelPublication } from './cancel.ts';
import type { DeltaNote } from './deltas.ts';
import { makeKey } from './keys.ts';
import { runPublisher } from './publisher.ts';
import type { RepositoryPatch } from './repository-settings.ts';
import { revertItems } from './revert.ts';
import { STEPS } from './tables.ts';

const crash = new RangeError('killed here');

/** The refs that the summary of a repository names. */
function summaryRefs(path: string): Record<string, string> {
  const { refs } = decodeSummary(readFileSync(join(path, 'summary')));
  return Object.fromEntries([...refs].map(([name, ref]) => [name, ref.commit]));
}

describeDatabases('a publication', (fresh) => {
  const setUp = async (t: TestContext, settings: RepositoryPatch = {}) => {
    const core = await createTestCore(t, { database: await fresh() });
    await core.repositories.set('public', settings, BY);
    let publisher: Promise<void> | undefined;
    t.after(() => publisher);
    const start = () => {
      publisher ??= runPublisher(core);
    };
    return { core, start };
  };

  test('brings several refs together: one summary has them all, and the releases know of one another', async (t) => {
    const { core, start } = await setUp(t);
    start();
    const [arm, x86] = [await storeCommit(core, { arch: 'arm' }), await storeCommit(core, { arch: 'x86' })];
    const { publication, releases } = await publishTogether(core, { 'arm/edge': arm, 'x86/edge': x86 });
    assert.deepEqual([publication.state, publication.actor, publication.step], ['published', 'ann', null]);
    assert.deepEqual(
      releases.map(({ number, publication, state }) => [number, publication, state]),
      [
        [1, 1, 'published'],
        [2, 1, 'published'],
      ],
    );
    assert.deepEqual(summaryRefs(core.repositories.find('public')!.path), {
      'arm/edge': arm.commit,
      'x86/edge': x86.commit,
    });
    const { rows } = { rows: await core.db.selectFrom('audit').selectAll().execute() };
    const published = rows.filter(({ action }) => action === 'release.publish');
    assert.deepEqual(
      published.map(({ actor, subject }) => [actor, subject]),
      [
        ['ann', 'public:arm/edge'],
        ['ann', 'public:x86/edge'],
      ],
    );
  });

  test('is all or nothing: one expectation that does not hold, one commit that is not whole, and no channel moves', async (t) => {
    const { core, start } = await setUp(t);
    start();
    const [one, two, broken] = [
      await storeCommit(core, { v: '1' }),
      await storeCommit(core, { v: '2' }),
      await storeCommit(core, { v: 'gone' }),
    ];
    await publishTogether(core, { a: one, b: one });
    await assert.rejects(decideByHand(core, { a: two, b: two }, { expect: { a: one.commit, b: two.commit } }), {
      code: 'conflict',
      message: /channel b of public is at/,
    });
    const { contents } = broken.tree;
    rmSync(join(core.store.path, 'objects', contents.slice(0, 2), `${contents.slice(2)}.dirtree`));
    await assert.rejects(publishTogether(core, { a: two, b: broken }), { code: 'unprocessable' });
    const { path } = core.repositories.find('public')!;
    assert.deepEqual(summaryRefs(path), { a: one.commit, b: one.commit });
    assert.deepEqual(Object.fromEntries(await listRefs(await openRepo(path))), { a: one.commit, b: one.commit });
    for (const [channels, code] of [
      [{ 'x/y': one, x: one }, 'conflict'],
      [{ a: one, 'a/b': one }, 'conflict'],
    ] as const) {
      await assert.rejects(decideByHand(core, channels), { code });
    }
    assert.equal((await core.db.selectFrom('releases').selectAll().execute()).length, 4);
  });

  test('an expectation that is met by a release which then fails does not count', async (t) => {
    const { core, start } = await setUp(t);
    const [good, broken] = [await storeCommit(core, { v: '1' }), await storeCommit(core, { v: 'gone' })];
    const { contents } = broken.tree;
    rmSync(join(core.store.path, 'objects', contents.slice(0, 2), `${contents.slice(2)}.dirtree`));
    const first = await decideByHand(core, { a: broken, b: good });
    const second = await decideByHand(core, { a: good }, { expect: { a: broken.commit } });
    start();
    assert.equal((await ended(core, first.publication.number)).publication.state, 'failed');
    const { publication } = await ended(core, second.publication.number);
    assert.equal(publication.state, 'failed');
    assert.match(publication.message ?? '', /channel a of public is at nothing, not at/);
  });

  test('holds only the closures of its refs, as hard links to the store', async (t) => {
    const { core, start } = await setUp(t);
    start();
    const [one, secret] = [await storeCommit(core, { v: 'open' }), await storeCommit(core, { v: 'secret' })];
    await publishTogether(core, { a: one });
    const repo = await publishedRepo(core);
    const objects = readdirSync(join(repo.path, 'objects')).flatMap((prefix) =>
      readdirSync(join(repo.path, 'objects', prefix)).map((name) => join('objects', prefix, name)),
    );
    assert.deepEqual(
      objects.map((path) => path.split('.')[1]!).toSorted((a, b) => a.localeCompare(b)),
      ['commit', 'dirmeta', 'dirtree', 'filez'],
    );
    for (const path of objects) {
      assert.equal(statSync(join(repo.path, path)).ino, statSync(join(core.store.path, path)).ino);
    }
    assert.equal(hasObject(repo, 'commit', secret.commit), false);
  });

  const memory = '/dev/shm';
  const skip = !existsSync(memory) && 'there is no second file system here';
  test('is copied where the published folder is on another file system than the store', { skip }, async (t) => {
    const { core, start } = await setUp(t);
    start();
    const elsewhere = mkdtempSync(join(memory, 'treeline-repos-'));
    t.after(() => rmSync(elsewhere, { recursive: true, force: true }));
    symlinkSync(elsewhere, join(core.folder.repos, 'apart'));
    const one = await storeCommit(core, { v: '1', 'deep/er': '2' });
    await publishTogether(core, { a: one }, 'apart');
    const { path } = core.repositories.find('apart')!;
    const commit = join(path, 'objects', one.commit.slice(0, 2), `${one.commit.slice(2)}.commit`);
    assert.equal(statSync(commit).dev, statSync(elsewhere).dev);
    assert.notEqual(statSync(commit).dev, statSync(core.store.path).dev);
    await ostree('fsck', '--quiet', '--repo', path);
  });

  test('cut off before each step it begins again and is whole: fsck, refs, signatures, deltas, no staging left', async (t) => {
    const { core } = await setUp(t, {});
    await makeKey(core, 'release', BY);
    await core.repositories.set('public', { signing: [{ type: 'ed25519', file: 'release' }], summaryGrace: 0 }, BY);
    let before: Stored = await storeCommit(core, { v: 'before', text: 'x'.repeat(5000) });
    const first = await decideByHand(core, { a: before, b: before });
    await runUntilEnded(runPublisher, core, first.publication.number);
    const cuts = [...STEPS, 'settle'];
    for (const cut of cuts) {
      const next = await storeCommit(core, { v: cut, text: `${'x'.repeat(5000)}${cut}` });
      const { publication } = await decideByHand(core, { a: next, b: next });
      const seen: string[] = [];
      await assert.rejects(
        runPublisher(core, {
          checkpoint: (step) => {
            seen.push(step);
            if (step === cut) throw crash;
          },
        }),
        crash,
      );
      assert.deepEqual(seen, cuts.slice(0, cuts.indexOf(cut) + 1), cut);
      const { path } = core.repositories.find('public')!;
      // Whatever it was: a client that comes now gets something whole.
      assert.ok([before.commit, next.commit].includes(summaryRefs(path).a!), cut);
      await ostree('fsck', '--quiet', '--repo', path);
      const end = await runUntilEnded(runPublisher, core, publication.number);
      assert.equal(end.publication.state, 'published', cut);
      assert.deepEqual(summaryRefs(path), { a: next.commit, b: next.commit }, cut);
      const repo = await openRepo(path);
      const signed = await readDetachedMetadata(repo, next.commit);
      assert.deepEqual(
        signed?.map(([key, { value }]) => [key, (value as unknown[]).length]),
        [['ostree.sign.ed25519', 1]],
        cut,
      );
      const deltas = (await listDeltas(repo)).filter(({ to }) => to === next.commit);
      assert.deepEqual(
        deltas.map(({ from }) => from),
        [before.commit],
        cut,
      );
      assert.deepEqual(
        readdirSync(join(path, 'tmp')).filter((name) => name.startsWith('treeline-') && !name.endsWith('.lock')),
        [],
        cut,
      );
      before = next;
    }
    await ostree('fsck', '--quiet', '--repo', core.repositories.find('public')!.path);
  });

  test('signed with GPG it is pulled by a stock client that demands it, and refused by one with another key', async (t) => {
    const { core, start } = await setUp(t);
    const [home, stranger] = [gpgHome(t), gpgHome(t)];
    const key = home.newKey('Release <release@example.org>');
    stranger.newKey('Stranger <stranger@example.org>');
    symlinkSync(home.path, join(core.folder.keys, 'gnupg'));
    const signing = [{ type: 'gpg' as const, key, home: 'gnupg' }];
    await core.repositories.set('public', { signing, summaryGrace: 0 }, BY);
    start();
    const one = await storeCommit(core, { v: '1' });
    await publishTogether(core, { 'robot/edge': one });
    const two = await storeCommit(core, { v: '2' });
    const { publication } = await publishTogether(core, { 'robot/edge': two });
    assert.deepEqual(JSON.parse(publication.signatures ?? '[]'), [{ commit: two.commit, key: `gpg:${key}` }]);
    const server = await serveRepository(core.repositories.find('public')!.path, { host: '127.0.0.1', port: 0 });
    t.after(() => server.close());
    const folder = scratch(t);
    const client = async (name: string, trusted: Buffer) => {
      const repo = join(folder, name);
      writeFileSync(join(folder, `${name}.gpg`), trusted);
      await ostree('init', '--repo', repo, '--mode', 'bare-user-only');
      await ostree(
        ...['remote', 'add', '--repo', repo, '--set=gpg-verify=true', '--set=gpg-verify-summary=true'],
        ...['--gpg-import', join(folder, `${name}.gpg`), 'line', server.url],
      );
      return repo;
    };
    const trusting = await client('trusting', home.gpg('--export'));
    // By its checksum the older one comes without the summary, and with a signature of its own.
    await ostree('pull', '--repo', trusting, 'line', one.commit);
    await ostree('refs', '--repo', trusting, '--create', 'line:robot/edge', one.commit);
    await ostree('pull', '--repo', trusting, '--require-static-deltas', 'line', 'robot/edge');
    assert.equal(await ostree('rev-parse', '--repo', trusting, 'line:robot/edge'), two.commit);
    await ostree('fsck', '--quiet', '--repo', trusting);
    const other = await client('other', stranger.gpg('--export'));
    await assert.rejects(ostree('pull', '--repo', other, 'line', 'robot/edge'), /public key not found|GPG/);
  });

  test('signed with ed25519 it is pulled by whoever demands it; a new key signs what is there anew', async (t) => {
    const { core, start } = await setUp(t);
    const { publicKey } = await makeKey(core, 'release', BY);
    start();
    const one = await storeCommit(core, { v: '1' });
    await publishTogether(core, { 'robot/edge': one });
    const { path } = core.repositories.find('public')!;
    assert.equal(existsSync(join(path, 'summary.sig')), false);
    const signing = [{ type: 'ed25519' as const, file: 'release' }];
    await core.repositories.set('public', { signing, summaryGrace: 0 }, BY);
    core.publishing.notify();
    await until(() => !core.repositories.find('public')!.refresh, 'the new signatures');
    const server = await serveRepository(path, { host: '127.0.0.1', port: 0 });
    t.after(() => server.close());
    const folder = scratch(t);
    const fetchAs = async (name: string, key: string) => {
      const repo = await createRepo(join(folder, name), { mode: 'bare-user-only' });
      const keys = {
        url: server.url,
        'gpg-verify': 'false',
        'sign-verify': 'ed25519',
        'sign-verify-summary': 'ed25519',
      };
      await addRemote(repo, 'line', new Map(Object.entries({ ...keys, 'verification-ed25519-key': key })));
      return await pull(repo, { url: server.url, remote: 'line', refs: ['robot/edge'] });
    };
    assert.equal((await fetchAs('trusting', publicKey)).commits.get('robot/edge'), one.commit);
    const { publicKey: another } = await makeKey(core, 'another', BY);
    await assert.rejects(fetchAs('other', another), { code: 'signature' });
  });

  test('makes deltas from what most devices run and from the release before; what is there is not made again', async (t) => {
    const { core, start } = await setUp(t, { deltas: { previous: 1, most: 2 } });
    start();
    const stored: Stored[] = [];
    for (let v = 0; v < 4; v += 1) {
      stored.push(await storeCommit(core, { text: `${'same\n'.repeat(2000)}${v}` }));
      if (v < 3) await publishTogether(core, { 'robot/edge': stored[v]! });
    }
    const [oldest, old, previous, next] = stored as [Stored, Stored, Stored, Stored];
    for (const [id, commit, channel] of [
      ['board-1', oldest.commit, 'robot/edge'],
      ['board-2', oldest.commit, null],
      ['board-3', old.commit, 'robot/edge'],
      ['board-4', old.commit, 'robot/other'],
      ['board-5', 'f'.repeat(64), 'robot/edge'],
    ] as const) {
      const device = { id, repository: 'public', channel, current_commit: commit };
      const rest = { public_key: '', accepted: 1, key_change_allowed: 0, state: '', created_at: 1 };
      await core.db
        .insertInto('devices')
        .values({ ...device, ...rest })
        .execute();
    }
    const { publication } = await publishTogether(core, { 'robot/edge': next });
    const notes = JSON.parse(publication.deltas ?? '[]') as DeltaNote[];
    assert.deepEqual(
      notes.map(({ from, to, state }) => [from, to, state]),
      [
        [oldest.commit, next.commit, 'made'],
        [old.commit, next.commit, 'made'],
      ],
    );
    assert.ok(notes.every(({ bytes }) => bytes !== null && bytes > 0));
    const again = await publishTogether(core, { 'robot/copy': next, 'robot/edge': next });
    assert.deepEqual(
      JSON.parse(again.publication.deltas ?? '[]').map((note: DeltaNote) => note.state),
      ['there', 'there'],
    );
    assert.equal(hasObject(await publishedRepo(core), 'commit', previous.commit), true);
    const progress = (await core.events.since(0, 1000)).filter(({ type }) => type === 'release.progress');
    assert.deepEqual(
      progress.slice(-4, -2).map(({ data }) => [data.step, data.done, data.total]),
      [
        ['deltas', 0, 2],
        ['deltas', 1, 2],
      ],
    );
  });

  test('a delta that cannot be made is told, and the release comes all the same', async (t) => {
    const { core, start } = await setUp(t);
    start();
    const [one, two] = [
      await storeCommit(core, { a: '1'.repeat(4000) }),
      await storeCommit(core, { a: '2'.repeat(4000) }),
    ];
    await publishTogether(core, { 'robot/edge': one });
    const repo = await publishedRepo(core);
    // The release before has lost its files: a client still gets the new one whole.
    const { contents } = one.tree;
    rmSync(join(repo.path, 'objects', contents.slice(0, 2), `${contents.slice(2)}.dirtree`));
    const { publication } = await publishTogether(core, { 'robot/edge': two });
    const [note] = JSON.parse(publication.deltas ?? '[]') as DeltaNote[];
    assert.deepEqual([publication.state, note?.state, note?.bytes], ['published', 'failed', null]);
    assert.match(note?.message ?? '', new RegExp(contents.slice(0, 12)));
  });

  test('can be cancelled until its refs are moved; the channel stays', async (t) => {
    const { core } = await setUp(t);
    const [one, two] = [await storeCommit(core, { v: '1' }), await storeCommit(core, { v: '2' })];
    const first = await decideByHand(core, { a: one });
    await runUntilEnded(runPublisher, core, first.publication.number);
    const { publication, releases } = await decideByHand(core, { a: two, b: two });
    const reached = Promise.withResolvers<void>();
    const cancelled = Promise.withResolvers<void>();
    const running = runUntilEnded(
      (on) =>
        runPublisher(on, {
          checkpoint: async (step) => {
            if (step !== 'deltas') return;
            reached.resolve();
            await cancelled.promise;
          },
        }),
      core,
      publication.number,
    );
    await reached.promise;
    await cancelPublication(core, releases[1]!, BY);
    cancelled.resolve();
    const end = await running;
    assert.deepEqual(
      end.releases.map(({ state, message }) => [state, message]),
      [
        ['abandoned', 'cancelled by ann'],
        ['abandoned', 'cancelled by ann'],
      ],
    );
    assert.deepEqual(summaryRefs(core.repositories.find('public')!.path), { a: one.commit });
    await assert.rejects(cancelPublication(core, releases[0]!, BY), { code: 'conflict' });
  });

  test('is given up for a newer one of its channels while its deltas are made', async (t) => {
    const { core } = await setUp(t);
    const stored = [await storeCommit(core, { v: '1' }), await storeCommit(core, { v: '2' })];
    const older = await decideByHand(core, { a: stored[0]! });
    let newer: Awaited<ReturnType<typeof decideByHand>> | undefined;
    const stop = new AbortController();
    /** Of what the publisher knows. */
    let version = 0;
    const publishing: typeof core.publishing = {
      get version() {
        return core.publishing.version;
      },
      notify: () => core.publishing.notify(),
      past(seen, ms, signal) {
        version = seen;
        return core.publishing.past(seen, ms, signal);
      },
    };
    const running = runPublisher(
      { ...core, publishing, signal: AbortSignal.any([core.signal, stop.signal]) },
      {
        checkpoint: async (step) => {
          if (step !== 'deltas' || newer) return;
          newer = await decideByHand(core, { a: stored[1]!, b: stored[1]! });
          // What is being made hears of it before it goes on.
          core.publishing.notify();
          const { version: decided } = core.publishing;
          await until(() => version >= decided, 'a look at what was decided');
        },
      },
    );
    const { publication } = await ended(core, older.publication.number);
    assert.equal(publication.state, 'abandoned');
    assert.match(publication.message ?? '', /superseded by release-2/);
    assert.equal((await ended(core, newer!.publication.number)).publication.state, 'published');
    stop.abort();
    await running;
    const listed = await listReleases(core.db, { limit: 10 });
    assert.deepEqual(
      listed.map(({ number, state }) => [number, state]),
      [
        [3, 'published'],
        [2, 'published'],
        [1, 'abandoned'],
      ],
    );
  });

  test('a revert is a new release of an old commit; twice goes back further, and a number names any', async (t) => {
    const { core, start } = await setUp(t);
    start();
    const stored: Stored[] = [];
    for (let v = 0; v < 3; v += 1) {
      stored.push(await storeCommit(core, { v: String(v) }));
      await publishTogether(core, { a: stored[v]!, b: stored[v]! });
    }
    const back = async (channels: string[], to?: number) => {
      const items = await revertItems(core, { repository: 'public', channels, to });
      return (await publishByHand(core, { repository: 'public', items, reason: 'revert', by: BY })).releases;
    };
    const both = await back(['a', 'b']);
    assert.deepEqual(
      both.map(({ number, commit, previous }) => [number, commit, previous]),
      [
        [7, stored[1]!.commit, stored[2]!.commit],
        [8, stored[1]!.commit, stored[2]!.commit],
      ],
    );
    assert.equal((await back(['a']))[0]?.commit, stored[0]!.commit);
    assert.equal((await back(['a'], 5))[0]?.commit, stored[2]!.commit);
    await assert.rejects(back(['a'], 5), { code: 'unprocessable' });
    await assert.rejects(back(['a'], 6), { code: 'not-found' });
    await assert.rejects(back(['none']), { code: 'not-found' });
    const current = (await listReleases(core.db, { limit: 50 })).filter((release) => release.current);
    assert.deepEqual(
      current.map(({ channel, commit }) => [channel, commit]),
      [
        ['a', stored[2]!.commit],
        ['b', stored[1]!.commit],
      ],
    );
  });

  test('a repository that nobody made is made private, and said so; what a crash lost of its folder comes back', async (t) => {
    const { core, start } = await setUp(t);
    start();
    const one = await storeCommit(core, { v: '1' });
    await publishTogether(core, { a: one }, 'partners');
    assert.equal(core.repositories.accessOf('partners'), 'private');
    const repo = await publishedRepo(core, 'partners');
    rmSync(join(repo.path, 'refs/heads/a'));
    await core.db.updateTable('repositories').set({ refresh: 1 }).where('name', '=', 'partners').execute();
    await core.repositories.ensure('partners', '');
    await core.repositories.set('partners', {}, BY);
    core.publishing.notify();
    await until(() => !core.repositories.find('partners')!.refresh, 'its folder as it was');
    assert.deepEqual(Object.fromEntries(await listRefs(repo)), { a: one.commit });
    await setRef(repo, 'a', one.commit);
  });
});

/** Runs a publisher until a publication has ended, and then ends the publisher. */
async function runUntilEnded(
  publisher: typeof runPublisher,
  core: Awaited<ReturnType<typeof createTestCore>>,
  number: number,
): ReturnType<typeof ended> {
  const stop = new AbortController();
  const signal = AbortSignal.any([core.signal, stop.signal]);
  const running = publisher({ ...core, signal });
  const end = await ended(core, number);
  stop.abort();
  await running;
  return end;
}
