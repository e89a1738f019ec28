import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratchFolder } from '../testing/scratch.ts';
import { createRepo } from './repo.ts';

const canMount = spawnSync('bwrap', ['--ro-bind', '/', '/', 'true']).status === 0;

test('a repository on a read-only file system is called that', { skip: !canMount }, async (t) => {
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  const program = `
    const { openRepo, withTransaction } = await import(${JSON.stringify(new URL('../index.ts', import.meta.url).href)});
    const repo = await openRepo(${JSON.stringify(repo.path)});
    const { name, code, message } = await withTransaction(repo, async () => ({})).catch((error) => error);
    console.log(JSON.stringify({ name, code, message }));
  `;
  for (const hasTmp of [true, false]) {
    if (!hasTmp) rmSync(join(repo.path, 'tmp'), { recursive: true });
    const args = ['--ro-bind', '/', '/', process.execPath, '--input-type=module', '-e', program];
    const told = JSON.parse(execFileSync('bwrap', args, { encoding: 'utf8' })) as Record<string, string>;
    assert.deepEqual([told.name, told.code], ['OstreeError', 'io'], told.message);
    assert.match(told.message!, /read-only file system/);
  }
});
