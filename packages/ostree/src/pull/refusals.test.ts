import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeCommit } from '../commit/write-commit.ts';
import type { OstreeError } from '../errors.ts';
import { loosePath } from '../formats/object-name.ts';
import { createRepo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { plainFiles, startServer } from '../testing/http.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { pull } from './pull.ts';

test('what a server does not let us read is told apart from what is not there', async (t) => {
  const base = scratchFolder(t);
  const theirs = await createRepo(join(base, 'theirs'));
  const [commit, dirtree] = await withTransaction(theirs, async (tx) => {
    const tree = tx.emptyTree();
    const made = await writeCommit(tx, { tree, timestamp: 1 });
    tx.setRef('main', made);
    return [made, tree.contents];
  });
  const files = plainFiles(theirs.path);
  let refused: (path: string) => boolean = () => false;
  let status = 403;
  const url = await startServer(t, (req, res, path) => {
    if (refused(path)) return void res.writeHead(status).end('no');
    return files(req, res, path);
  });
  let count = 0;
  const fails = async (what: (path: string) => boolean, ref: string | null, code: string, message: RegExp) => {
    refused = what;
    const repo = await createRepo(join(base, `ours-${count++}`));
    await assert.rejects(pull(repo, { url, ...(ref === null ? {} : { refs: [ref] }) }), (error: OstreeError) => {
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      assert.ok(error.hint !== undefined);
      return true;
    });
  };
  await fails(() => true, 'main', 'network', /refs\/heads\/main: the server answered 403 Forbidden/);
  await fails(() => true, null, 'network', /summary: the server answered 403 Forbidden/);
  await fails((path) => path.startsWith('/refs'), 'main', 'network', /refs\/heads\/main: .* 403 Forbidden/);
  for (const path of [loosePath(commit, 'commit'), loosePath(dirtree, 'dirtree')]) {
    await fails((one) => one.endsWith(path), 'main', 'network', /object [0-9a-f]+\.\w+, the server answered 403/);
  }
  status = 401;
  await fails(() => true, 'main', 'network', /answered 401 Unauthorized/);
  status = 404;
  await fails(() => true, 'main', 'not-found', /there is no OSTree repository at this URL/);
  await fails(() => true, null, 'not-found', /there is no OSTree repository at this URL/);
  // An object store answers 403 for all that it does not have, and is pulled from all the same.
  status = 403;
  refused = (path) => /^\/(config|summary|.*\.commitmeta)$/.test(path);
  await pull(await createRepo(join(base, 'ours')), { url, refs: ['main'] });
  ostree(`--repo=${theirs.path}`, 'summary', '-u');
  await fails((path) => path === '/refs/heads/none', 'none', 'not-found', /has no ref none.* answered 403/);
});
