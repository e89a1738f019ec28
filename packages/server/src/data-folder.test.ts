import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { lockDataFolder, readServerFile, writeServerFile } from './data-folder.ts';
import { scratch } from './testing/scratch.ts';

test('a second server on the same data folder is refused, and told who has it', async (t) => {
  const path = `${scratch(t)}/data`;
  const first = lockDataFolder(path);
  await writeServerFile(first, { url: 'http://127.0.0.1:1', local: 'http://127.0.0.1:1', gateway: null, pid: 4711 });
  assert.throws(() => lockDataFolder(path), { code: 'data-folder-busy', message: /4711.*127\.0\.0\.1:1/ });
  first.unlock();
  lockDataFolder(path).unlock();
});

test('a lock does not outlive a process that is killed', async (t) => {
  const path = `${scratch(t)}/data`;
  const script = `import { lockDataFolder } from ${JSON.stringify(new URL('./data-folder.ts', import.meta.url).href)};
    lockDataFolder(${JSON.stringify(path)}); console.log('locked'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  assert.throws(() => lockDataFolder(path), { code: 'data-folder-busy' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  lockDataFolder(path).unlock();
});

test('the data folder is readable by its owner only', (t) => {
  const folder = lockDataFolder(`${scratch(t)}/data`);
  t.after(() => folder.unlock());
  assert.equal(statSync(folder.path).mode & 0o777, 0o700);
  assert.equal(readServerFile(folder), null);
});
