import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { writeCommit } from '../commit/write-commit.ts';
import { S_IFREG } from '../formats/mode.ts';
import { ostree as run, scratchFolder as scratch } from '../testing/scratch.ts';
import { isCollectionId, listCollectionRefs, readCollectionRef, setCollectionRef } from './collection-refs.ts';
import { hasObject, readCommit, readFileObject } from './objects.ts';
import { listAliases, listRefs, readRef, resolveRev, setAlias, setRef } from './refs.ts';
import { addRemote, deleteRemote, readRemotes } from './remotes.ts';
import { createRepo, openRepo, type Repo, writeConfig } from './repo.ts';
import { type Transaction, withTransaction } from './transaction.ts';
import { treeReader } from './tree-reader.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);

const ostree = (repo: Repo, ...args: string[]) => run(`--repo=${repo.path}`, ...args);

async function childOf(parent: Repo, path: string): Promise<Repo> {
  const repo = await createRepo(path);
  repo.config.get('core')!.set('parent', parent.path);
  await writeConfig(repo, repo.config);
  return openRepo(path);
}

describe('refs', () => {
  test('an alias stands for another ref, for ostree too, and moves with it', async (t) => {
    const repo = await createRepo(join(scratch(t), 'repo'));
    await setRef(repo, 'os/42/main', A);
    await setAlias(repo, 'os/stable', 'os/42/main');
    assert.equal(await readRef(repo, 'os/stable'), A);
    await setRef(repo, 'os/42/main', B);
    assert.equal(await resolveRev(repo, 'os/stable'), B);
    assert.deepEqual(await listAliases(repo), new Map([['os/stable', 'os/42/main']]));
    assert.equal(ostree(repo, 'refs', '-A'), 'os/stable -> os/42/main');
    assert.equal(ostree(repo, 'rev-parse', 'os/stable'), B);
    await assert.rejects(setAlias(repo, 'x', 'nothing'), { code: 'not-found' });
    await assert.rejects(setAlias(repo, 'origin:x', 'os/42/main'), /Cannot create alias to remote ref/);
  });

  test('hidden files and broken refs are no refs', async (t) => {
    const repo = await createRepo(join(scratch(t), 'repo'));
    await setRef(repo, 'os/main', A);
    writeFileSync(join(repo.path, 'refs/heads/os/.rsync'), 'x');
    assert.deepEqual([...(await listRefs(repo)).keys()], ['os/main']);
    writeFileSync(join(repo.path, 'refs/heads/broken'), 'x');
    await assert.rejects(listRefs(repo), { code: 'corrupt' });
    const broken: string[] = [];
    await listRefs(repo, undefined, { onBroken: (name) => broken.push(name) });
    assert.deepEqual(broken, ['broken']);
  });

  test('a revision may be a ref of any remote, or one of the parent repository', async (t) => {
    const folder = scratch(t);
    const parent = await createRepo(join(folder, 'parent'));
    const repo = await childOf(parent, join(folder, 'repo'));
    await setRef(repo, 'origin:edge', A);
    await setRef(parent, 'old', B);
    assert.equal(await resolveRev(repo, 'edge'), A);
    assert.equal(await resolveRev(repo, 'origin/edge'), A);
    assert.equal(await resolveRev(repo, 'old'), B);
    await assert.rejects(resolveRev(repo, 'none'), { message: "Refspec 'none' not found" });
    for (const bad of ['.', '-', '.foo', '-bar', '!', 'a//b', 'a/../b', '../x', 'a:b:c', '']) {
      await assert.rejects(setRef(repo, bad, A), { code: 'invalid' }, bad);
    }
    await assert.rejects(setRef(repo, A, A), /looks like a checksum/);
  });
});

describe('a parent repository', () => {
  test('has what its child lacks', async (t) => {
    const folder = scratch(t);
    const parent = await createRepo(join(folder, 'parent'));
    const header = { uid: 0, gid: 0, mode: S_IFREG | 0o644, symlinkTarget: '', xattrs: [] };
    const write = (text: string) => async (tx: Transaction) => {
      const { checksum } = await tx.writeFile(header, Buffer.from(text));
      const { meta } = tx.emptyTree();
      const contents = tx.writeDirTree({ files: new Map([['file', checksum]]), dirs: new Map() });
      return { file: checksum, commit: await writeCommit(tx, { tree: { contents, meta } }) };
    };
    const { file, commit } = await withTransaction(parent, write('above'));
    const repo = await childOf(parent, join(folder, 'child'));
    assert.equal(hasObject(repo, 'commit', commit), true);
    const { tree } = await readCommit(repo, commit);
    assert.equal(treeReader(repo).dirTree(tree.contents).files.get('file'), file);
    assert.equal((await readFileObject(repo, file)).size, 5);
    assert.equal(
      (await withTransaction(repo, async (tx) => tx.locate('dirtree', tree.contents)))?.startsWith(parent.path),
      true,
    );
    const own = await createRepo(join(folder, 'own'));
    own.config.get('core')!.set('parent', own.path);
    await writeConfig(own, own.config);
    await assert.rejects(openRepo(own.path), { code: 'invalid', message: /more than 16 parents/ });
  });
});

describe('refs of collections', () => {
  test('they are those of ostree: own, mirrored, and of remotes with a collection', async (t) => {
    const path = join(scratch(t), 'repo');
    run(`--repo=${path}`, 'init', '--mode=archive', '--collection-id=org.example.Own');
    const repo = await openRepo(path);
    await setRef(repo, 'main', A);
    await setCollectionRef(repo, { collection: 'org.example.Own', ref: 'edge' }, A);
    await setCollectionRef(repo, { collection: 'org.example.Other', ref: 'os/main' }, B);
    await addRemote(
      repo,
      'origin',
      new Map([
        ['url', 'http://x'],
        ['collection-id', 'org.example.Remote'],
      ]),
    );
    await addRemote(repo, 'plain', new Map([['url', 'http://x']]));
    await setRef(repo, 'origin:app', B);
    await setRef(repo, 'plain:app', B);
    assert.equal(await readRef(repo, 'edge'), A);
    const listed = (await listCollectionRefs(repo)).map((one) => `(${one.collection}, ${one.ref})`);
    assert.equal(listed.join('\n'), ostree(repo, 'refs', '--collections').split('\n').sort().join('\n'));
    assert.equal(listed.length, 4);
    const other = { collection: 'org.example.Other', ref: 'os/main' };
    assert.equal(await readCollectionRef(repo, other), B);
    await setCollectionRef(repo, other, null);
    assert.equal(await readCollectionRef(repo, other), null);
    assert.equal((await listCollectionRefs(repo, { collection: 'org.example.Remote' })).length, 1);
    assert.equal((await listCollectionRefs(repo, { excludeRemotes: true })).length, 2);
  });

  test('an id is a reverse domain name, and never a path', async (t) => {
    const repo = await createRepo(join(scratch(t), 'repo'));
    for (const id of [
      '',
      'a',
      '.a.b',
      'a..b',
      'a.b.',
      '1.b',
      'a.1',
      'a/b.c',
      '../a.b',
      'a.b\0',
      `a.${'b'.repeat(254)}`,
    ]) {
      assert.equal(isCollectionId(id), false, id);
      await assert.rejects(setCollectionRef(repo, { collection: id, ref: 'x' }, A), { code: 'invalid' });
    }
    await assert.rejects(setCollectionRef(repo, { collection: 'a.b', ref: '../x' }, A), { code: 'invalid' });
    mkdirSync(join(repo.path, 'refs/mirrors/not-an-id'));
    writeFileSync(join(repo.path, 'refs/mirrors/not-an-id/x'), A);
    assert.deepEqual(await listCollectionRefs(repo), []);
  });
});

describe('remotes', () => {
  test('come from the config, from a folder of files, and from the parent repository', async (t) => {
    const folder = scratch(t);
    const parent = await createRepo(join(folder, 'parent'));
    await addRemote(parent, 'upstream', new Map([['url', 'http://up']]));
    const repo = await childOf(parent, join(folder, 'repo'));
    const options = { folder: join(folder, 'remotes.d') };
    await addRemote(repo, 'here', new Map([['url', 'http://here']]));
    await addRemote(repo, 'beside', new Map([['url', 'http://beside']]), options);
    const found = await readRemotes(repo, options);
    assert.deepEqual([...found.keys()].sort(), ['beside', 'here', 'upstream']);
    assert.equal(found.get('beside')!.file, join(folder, 'remotes.d/beside.conf'));
    assert.equal(found.get('upstream')!.inherited, true);
    await assert.rejects(addRemote(repo, 'beside', new Map(), options), { code: 'exists' });
    await addRemote(repo, 'beside', new Map([['url', 'http://b2']]), { ...options, replace: true });
    assert.equal((await readRemotes(repo, options)).get('beside')!.keys.get('url'), 'http://b2');
    await assert.rejects(deleteRemote(repo, 'upstream', options), { code: 'not-found' });
    await deleteRemote(repo, 'beside', options);
    await deleteRemote(repo, 'here', options);
    assert.deepEqual([...(await readRemotes(repo, options)).keys()], ['upstream']);
    writeFileSync(join(folder, 'remotes.d/upstream.conf'), '[remote "upstream"]\nurl=http://mine\n');
    assert.equal((await readRemotes(repo, options)).get('upstream')!.keys.get('url'), 'http://mine');
    for (const bad of ['', '.', '../x', 'a/b', 'a b']) {
      await assert.rejects(addRemote(repo, bad, new Map()), { code: 'invalid' }, bad);
    }
  });
});

test('aliases that lead to each other are damaged refs, and what cannot be the name of a file is no ref', async (t) => {
  const repo = await createRepo(join(scratch(t), 'repo'));
  for (const [alias, target] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const) {
    symlinkSync(target, join(repo.path, 'refs/heads', alias));
  }
  await assert.rejects(readRef(repo, 'a'), { code: 'corrupt', message: /leads to itself/ });
  assert.equal(await readRef(repo, 'x'.repeat(300)), null);
});
