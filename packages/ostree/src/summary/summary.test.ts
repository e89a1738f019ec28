import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { writeCommit } from '../commit/write-commit.ts';
import { deltaSuperblockPath } from '../delta/names.ts';
import { deleteDelta, listDeltaIndexes, listDeltas, retireDelta } from '../delta/stored.ts';
import { swap } from '../formats/commit.ts';
import { type Checksum, compareNames } from '../formats/object-name.ts';
import {
  decodeSummary,
  encodeSummary,
  encodeSummaryEntry,
  entriesByCommit,
  joinSummary,
  type SummaryRef,
} from '../formats/summary.ts';
import { encode, type Variant } from '../gvariant/encode.ts';
import { setCollectionRef } from '../repo/collection-refs.ts';
import { objectPath, readCommit, readDetachedMetadata } from '../repo/objects.ts';
import { listRefs, readRef, setRef } from '../repo/refs.ts';
import { createRepo, openRepo, type Repo, writeConfig } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { ed25519Signer } from '../sign/signer.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { updateSummary } from './update.ts';

async function commitOn(repo: Repo, ref: string, timestamp: number, version?: string): Promise<Checksum> {
  return withTransaction(repo, async (tx) => {
    const metadata: [string, Variant][] = version ? [['version', { type: 's', value: version }]] : [];
    const commit = await writeCommit(tx, { tree: tx.emptyTree(), timestamp, metadata, subject: ref });
    tx.setRef(ref, commit);
    return commit;
  });
}

const summaryOf = (repo: Repo) => readFileSync(join(repo.path, 'summary'));
const view = (repo: Repo) => ostree(`--repo=${repo.path}`, 'summary', '--view');
const without = (text: string) =>
  text
    .replace(/^Last-Modified.*$/m, '')
    .split('\n')
    .sort();

describe('a summary', () => {
  test('says what that of ostree says, also when it is made from the one before', async (t) => {
    const repo = await createRepo(join(scratchFolder(t), 'repo'));
    for (let index = 0; index < 20; index++)
      await commitOn(repo, `os/${index}`, 1000 + index, index % 2 ? `${index}` : '');
    await setRef(repo, 'origin:not/mine', await commitOn(repo, 'os/early', -400_000_000));
    await updateSummary(repo);
    const moved = await commitOn(repo, 'os/3', 5000, 'new');
    await setRef(repo, 'os/4', null);
    await commitOn(repo, 'added', 6000);
    await updateSummary(repo);
    const ours = view(repo);
    assert.equal(decodeSummary(summaryOf(repo)).refs.get('os/3')?.commit, moved);
    ostree(`--repo=${repo.path}`, 'summary', '-u');
    assert.deepEqual(without(ours), without(view(repo)));
    // And from one of ostree's.
    await updateSummary(repo);
    assert.deepEqual(without(ours), without(view(repo)));
  });

  test('does not believe one that somebody else wrote or damaged', async (t) => {
    const repo = await createRepo(join(scratchFolder(t), 'repo'));
    const commit = await commitOn(repo, 'main', 1000, '1.0');
    await updateSummary(repo);
    const lie: SummaryRef = { commit, size: 7, timestamp: 1, version: 'lie' };
    writeFileSync(join(repo.path, 'summary'), encodeSummary({ refs: new Map([['main', lie]]), metadata: [] }));
    await updateSummary(repo);
    const { size, version, timestamp } = decodeSummary(summaryOf(repo)).refs.get('main')!;
    assert.deepEqual([size > 7, version, timestamp], [true, '1.0', 1000]);
    appendFileSync(join(repo.path, 'summary'), 'x');
    writeFileSync(join(repo.path, 'tmp/cache/treeline-superblocks.json'), '[["x",[1],7]]');
    await updateSummary(repo);
    assert.equal(decodeSummary(summaryOf(repo)).refs.get('main')?.version, '1.0');
  });

  test('lists no commit that is gone, although it was in the one before', async (t) => {
    const repo = await createRepo(join(scratchFolder(t), 'repo'));
    const commit = await commitOn(repo, 'main', 1000);
    await updateSummary(repo);
    rmSync(objectPath(repo, 'commit', commit));
    await assert.rejects(updateSummary(repo), { code: 'not-found' });
  });

  test('a superblock that changed is hashed again, whatever its size and times', async (t) => {
    const repo = await createRepo(join(scratchFolder(t), 'repo'));
    const to = await commitOn(repo, 'main', 1000);
    const path = join(repo.path, deltaSuperblockPath(null, to));
    mkdirSync(dirname(path), { recursive: true });
    const digestOf = () => {
      const deltas = decodeSummary(summaryOf(repo)).metadata.find(([key]) => key === 'ostree.static-deltas')?.[1];
      const [[, digest]] = deltas!.value as unknown as [[string, Variant]];
      return Buffer.from(digest.value as Uint8Array).toString('hex');
    };
    for (const text of ['one', 'two', 'six']) {
      writeFileSync(path, text);
      utimesSync(path, 1000, 1000);
      await updateSummary(repo);
      assert.equal(digestOf(), hash('sha256', text));
      await updateSummary(repo);
      assert.equal(digestOf(), hash('sha256', text));
    }
    rmSync(path);
    await updateSummary(repo);
    assert.equal(
      decodeSummary(summaryOf(repo)).metadata.some(([key]) => key === 'ostree.static-deltas'),
      false,
    );
  });

  test('has the keys that the configuration and the caller ask for', async (t) => {
    const made = await createRepo(join(scratchFolder(t), 'repo'));
    made.config.get('core')!.set('tombstone-commits', 'true').set('no-deltas-in-summary', 'true');
    await writeConfig(made, made.config);
    const repo = await openRepo(made.path);
    const to = await commitOn(repo, 'main', 1000);
    const path = join(repo.path, deltaSuperblockPath(null, to));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, 'x');
    const expires: [string, Variant] = ['ostree.summary.expires', { type: 't', value: swap(99n) }];
    const own: [string, Variant] = ['ostree.summary.mode', { type: 's', value: 'lie' }];
    await updateSummary(repo, { metadata: [expires, own], now: 5000 });
    const values = new Map(decodeSummary(summaryOf(repo)).metadata);
    assert.equal(values.get('ostree.summary.mode')?.value, 'archive-z2');
    assert.equal(values.get('ostree.summary.last-modified')?.value, swap(5n));
    assert.equal(values.get('ostree.summary.expires')?.value, swap(99n));
    assert.equal(values.get('ostree.summary.tombstone-commits')?.value, true);
    assert.equal(values.has('ostree.static-deltas'), false);
  });

  test('that is told what has changed says what one says that looks at everything', async (t) => {
    const base = scratchFolder(t);
    const repo = await createRepo(join(base, 'repo'));
    const now = 5000;
    /** The same bytes by a process that has never seen the repository. */
    const fresh = async (): Promise<Buffer> => {
      const copy = join(base, `copy-${Math.random()}`);
      cpSync(repo.path, copy, { recursive: true });
      rmSync(join(copy, 'tmp/cache'), { recursive: true });
      const other = await openRepo(copy);
      await updateSummary(other, { now });
      return summaryOf(other);
    };
    const commits: Checksum[] = [];
    for (const ref of ['b', 'd', 'f']) commits.push(await commitOn(repo, ref, 1000));
    await updateSummary(repo, { now, changed: { refs: ['f'] } }); // the first one looks at everything
    assert.deepEqual([...decodeSummary(summaryOf(repo)).refs.keys()], ['b', 'd', 'f']);
    const addDelta = (from: Checksum | null, to: Checksum, text: string) => {
      const path = join(repo.path, deltaSuperblockPath(from, to));
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
      return { from, to };
    };
    const [one, two, three] = commits as [Checksum, Checksum, Checksum];
    const steps: (() => Promise<Parameters<typeof updateSummary>[1]>)[] = [
      async () => ({ changed: { refs: [await commitOn(repo, 'a', 1).then(() => 'a')] } }),
      async () => ({ changed: { refs: [await commitOn(repo, 'c/deep', 2).then(() => 'c/deep')] } }),
      async () => ({ changed: { refs: [await commitOn(repo, 'd', 3, '2.0').then(() => 'd')] } }),
      async () => ({ changed: { refs: [await setRef(repo, 'b', null).then(() => 'b'), 'never'] } }),
      async () => ({ changed: { deltas: [addDelta(null, one, 'x'), addDelta(one, two, 'y')] } }),
      async () => ({ changed: { deltas: [addDelta(three, two, 'z'), addDelta(null, one, 'other')] } }),
      async () => {
        await deleteDelta(repo, { from: one, to: two });
        await deleteDelta(repo, { from: null, to: one });
        return {
          changed: {
            deltas: [
              { from: one, to: two },
              { from: null, to: one },
            ],
          },
        };
      },
      async () => ({ changed: {} }),
      async () => {
        // Retired, it is not named any more, but still there.
        const deltas = [{ from: three, to: two }];
        await retireDelta(repo, deltas[0]!);
        await updateSummary(repo, { now, changed: { deltas } });
        const told = summaryOf(repo);
        assert.deepEqual([await listDeltaIndexes(repo), (await listDeltas(repo)).length], [[], 1]);
        await updateSummary(repo, { now });
        assert.ok(told.equals(summaryOf(repo)));
        await deleteDelta(repo, deltas[0]!);
        return { changed: {} };
      },
    ];
    for (const [index, step] of steps.entries()) {
      await updateSummary(repo, { now, ...(await step()) });
      assert.ok(summaryOf(repo).equals(await fresh()), `step ${index}`);
      const indexed = await listDeltaIndexes(repo);
      assert.deepEqual(indexed, [...new Set((await listDeltas(repo)).map(({ to }) => to))].sort());
    }
    // Another's summary says nothing of what has changed since.
    await commitOn(repo, 'theirs', 9);
    ostree(`--repo=${repo.path}`, 'summary', '-u');
    await commitOn(repo, 'ours', 9);
    await updateSummary(repo, { now, changed: {} });
    assert.ok(decodeSummary(summaryOf(repo)).refs.has('ours'));
    assert.ok(summaryOf(repo).equals(await fresh()));
  });

  test('of refs and deltas that are read from memory follows what has changed on disk', async (t) => {
    const repo = await createRepo(join(scratchFolder(t), 'repo'));
    const commits = new Map<string, Checksum>();
    for (let index = 0; index < 6; index++) commits.set(`r/${index}`, await commitOn(repo, `r/${index}`, index));
    await sleep(2100); // what is younger is read again in any case
    const refs = () =>
      Object.fromEntries([...decodeSummary(summaryOf(repo)).refs].map(([name, { commit }]) => [name, commit]));
    for (let round = 0; round < 2; round++) await updateSummary(repo);
    assert.deepEqual(refs(), Object.fromEntries(commits));
    // In place, as no tool of OSTree does it; by renaming; and by a link.
    writeFileSync(join(repo.path, 'refs/heads/r/1'), `${commits.get('r/2')}\n`);
    await setRef(repo, 'r/3', commits.get('r/4')!);
    rmSync(join(repo.path, 'refs/heads/r/5'));
    symlinkSync('0', join(repo.path, 'refs/heads/r/5'));
    await updateSummary(repo);
    const [zero, , two, , four] = [...commits.values()];
    assert.deepEqual(refs(), { 'r/0': zero, 'r/1': two, 'r/2': two, 'r/3': four, 'r/4': four, 'r/5': zero });
  });

  test('of a collection has a commit of its own, and lists others apart', async (t) => {
    const path = join(scratchFolder(t), 'repo');
    ostree(`--repo=${path}`, 'init', '--mode=archive', '--collection-id=org.example.Own');
    const repo = await openRepo(path);
    const commit = await commitOn(repo, 'main', 1000);
    await setCollectionRef(repo, { collection: 'org.example.Other', ref: 'os' }, commit);
    const metadata: [string, Variant][] = [['x.key', { type: 's', value: 'v' }]];
    await updateSummary(repo, { metadata });
    const first = await readRef(repo, 'ostree-metadata');
    await updateSummary(repo, { metadata });
    const second = (await readRef(repo, 'ostree-metadata'))!;
    const written = await readCommit(repo, second);
    assert.equal(written.parent, first);
    assert.deepEqual(
      written.metadata.map(([key]) => key),
      ['x.key', 'ostree.collection-binding', 'ostree.ref-binding'],
    );
    const ours = view(repo);
    assert.match(ours, /\* \(org\.example\.Other, os\)/);
    assert.match(ours, /\* \(org\.example\.Own, main\)/);
    ostree(`--repo=${path}`, 'fsck', '--quiet');
  });

  test('is signed before it is seen, and loses a signature that does not fit', async (t) => {
    const repo = await createRepo(join(scratchFolder(t), 'repo'));
    await commitOn(repo, 'main', 1000);
    const { generateKeyPairSync } = await import('node:crypto');
    const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
    const secret = Buffer.concat([Buffer.from(d!, 'base64url'), Buffer.from(x!, 'base64url')]).toString('base64');
    await updateSummary(repo, { signers: [ed25519Signer(secret)] });
    assert.ok(existsSync(join(repo.path, 'summary.sig')));
    const failing = { metadataKey: 'ostree.gpgsigs' as const, sign: () => Promise.reject(new Error('no key')) };
    const before = summaryOf(repo);
    await assert.rejects(updateSummary(repo, { signers: [failing] }), /no key/);
    assert.deepEqual(summaryOf(repo), before);
    assert.ok(existsSync(join(repo.path, 'summary.sig')));
    await updateSummary(repo);
    assert.equal(existsSync(join(repo.path, 'summary.sig')), false);
    assert.equal(await readDetachedMetadata(repo, (await readRef(repo, 'main'))!), null);
  });

  test('follows refs by itself where it is to, and updates wait for one another', async (t) => {
    const made = await createRepo(join(scratchFolder(t), 'repo'));
    made.config.get('core')!.set('auto-update-summary', 'true');
    await writeConfig(made, made.config);
    const repo = await openRepo(made.path);
    await Promise.all(Array.from({ length: 8 }, (_, index) => commitOn(repo, `ref-${index}`, index)));
    assert.deepEqual([...decodeSummary(summaryOf(repo)).refs.keys()], [...(await listRefs(repo)).keys()]);
  });
});

describe('joining serialised entries', () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
    .filter((text) => !text.includes('\0') && text.isWellFormed());
  const ref = fc.record({
    commit: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex')),
    size: fc.nat(),
    timestamp: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
    version: fc.oneof(fc.constant(null), fc.constant('1.0'), fc.constant('x'.repeat(300))),
  });

  test('gives the bytes that serialising the whole would give', () => {
    fc.assert(
      fc.property(fc.dictionary(name, ref, { maxKeys: 40 }), fc.integer({ min: 0, max: 900 }), (dictionary, length) => {
        const refs = new Map(Object.entries(dictionary));
        const metadata: [string, Variant][] = [['k', { type: 's', value: 'v'.repeat(length) }]];
        const entries = [...refs].map(([key, one]) => [key, encodeSummaryEntry(one)] as const);
        const summary = joinSummary(entries, metadata);
        const decoded = decodeSummary(summary); // refuses all but the one normal form
        assert.equal(decoded.refs.size, refs.size);
        const known = entriesByCommit(summary);
        for (const [key, one] of refs) {
          assert.equal(decoded.refs.get(key)!.timestamp, one.timestamp);
          assert.ok(known.has(one.commit));
        }
      }),
    );
  });

  test('holds at the sizes at which framing offsets become wider', () => {
    const one: SummaryRef = { commit: 'ab'.repeat(32), size: 1, timestamp: 1 };
    for (const count of [0, 1, 2, 3, 500, 900]) {
      for (const pad of [0, 1, 7, 60, 128, 200, 250, 65_000]) {
        const refs = new Map(Array.from({ length: count }, (_, index) => [`r${index}`, one]));
        const metadata: [string, Variant][] = [['k', { type: 's', value: 'v'.repeat(pad) }]];
        const list = [...refs]
          .sort(([a], [b]) => compareNames(a, b))
          .map(([key]) => [key, [1n, Buffer.from(one.commit, 'hex'), []]]);
        const plain = joinSummary(
          [...refs].map(([key]) => [key, encode('(taya{sv})', [1n, Buffer.from(one.commit, 'hex'), []])] as const),
          metadata,
        );
        assert.ok(plain.equals(encode('(a(s(taya{sv}))a{sv})', [list, metadata])), `${count} ${pad}`);
      }
    }
  });
});
