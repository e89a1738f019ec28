import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeCommit } from '../commit/write-commit.ts';
import { listRefs, readRef } from '../repo/refs.ts';
import { createRepo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { plainFiles, startServer } from '../testing/http.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { pull } from './pull.ts';

test('a commit that is bound to other refs is refused, over HTTP and from a path', async (t) => {
  const base = scratchFolder(t);
  const theirs = await createRepo(join(base, 'theirs'));
  const bindings: [ref: string, bound: string[] | null][] = [
    ['bound', ['other', 'bound']],
    ['free', null],
    ['wrong', ['stable', 'edge']],
    ['nowhere', []],
    ['origin:copied', ['copied']],
  ];
  await withTransaction(theirs, async (tx) => {
    for (const [index, [ref, value]] of bindings.entries()) {
      const commit = await writeCommit(tx, {
        tree: tx.emptyTree(),
        timestamp: index,
        metadata: value ? [['ostree.ref-binding', { type: 'as', value }]] : [],
      });
      tx.setRef(ref, commit);
    }
  });
  for (const [index, url] of [await startServer(t, plainFiles(theirs.path)), theirs.path].entries()) {
    const repo = await createRepo(join(base, `ours-${index}`));
    await pull(repo, { url, refs: ['bound', 'free'], remote: 'origin' });
    const before = await listRefs(repo);
    assert.deepEqual([...before.keys()].sort(), ['origin:bound', 'origin:free']);
    for (const commitMetadataOnly of index === 0 ? [false, true] : [false]) {
      const wrong = pull(repo, { url, refs: ['free', 'wrong'], commitMetadataOnly });
      await assert.rejects(wrong, { code: 'invalid', message: /no requested ref ‘wrong’ .*\(‘stable’, ‘edge’\)/ });
      await assert.rejects(pull(repo, { url, refs: ['nowhere'] }), { code: 'invalid', message: /\(no refs\)/ });
    }
    assert.deepEqual(await listRefs(repo), before);
    const commit = (await readRef(theirs, 'wrong'))!;
    await pull(repo, { url, commits: [commit] });
    // That it is here already does not make it the right one.
    await assert.rejects(pull(repo, { url, refs: ['wrong'] }), { code: 'invalid' });
    await pull(repo, { url, refs: ['wrong'], verifyBindings: false });
    assert.equal(await readRef(repo, 'wrong'), commit);
  }
  const repo = await createRepo(join(base, 'ours-remote'));
  await pull(repo, { url: theirs.path, refs: ['origin:copied'] });
});
