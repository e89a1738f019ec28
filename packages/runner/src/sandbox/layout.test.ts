import assert from 'node:assert/strict';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../testing/sandbox-job.ts';
import { hostLayout, imageLayout, unreadableByOthers } from './layout.ts';

test('what others may not read is found, at any depth', async () => {
  await using folder = await temporaryFolder();
  const at = (path: string): string => join(folder.path, path);
  await mkdir(at('ssl/private'), { recursive: true });
  await mkdir(at('ssh'));
  for (const name of ['passwd', 'shadow', 'ssh/key', 'ssh/key.pub', 'ssl/private/key']) await writeFile(at(name), '');
  await chmod(at('shadow'), 0o640);
  await chmod(at('ssh/key'), 0o600);
  await chmod(at('ssl/private'), 0o710);
  await symlink('shadow', at('link'));
  const hidden = await unreadableByOthers(folder.path);
  assert.deepEqual(
    hidden.sort((a, b) => (a.path < b.path ? -1 : 1)),
    [
      { path: at('shadow'), kind: 'file' },
      { path: at('ssh/key'), kind: 'file' },
      { path: at('ssl/private'), kind: 'dir' },
    ],
  );
});

test('only the folders that something is mounted below are read', async () => {
  await using folder = await temporaryFolder();
  await mkdir(join(folder.path, 'etc/ssl'), { recursive: true });
  await mkdir(join(folder.path, 'usr/bin'), { recursive: true });
  await writeFile(join(folder.path, 'etc/passwd'), '');
  const source = (path: string): string => join(folder.path, path);
  assert.deepEqual(await imageLayout(folder.path, ['/etc/passwd', '/src']), [
    {
      kind: 'dir',
      name: 'etc',
      source: source('etc'),
      entries: [
        { kind: 'file', name: 'passwd', source: source('etc/passwd') },
        { kind: 'dir', name: 'ssl', source: source('etc/ssl') },
      ],
    },
    { kind: 'dir', name: 'usr', source: source('usr') },
  ]);
});

test("an image's usr that is a link elsewhere brings in nothing of elsewhere", async () => {
  await using folder = await temporaryFolder();
  await symlink('/usr', join(folder.path, 'usr'));
  await symlink('/etc', join(folder.path, 'etc'));
  const layout = await imageLayout(folder.path, ['/etc/passwd']);
  assert.deepEqual(
    layout.map((entry) => entry.kind),
    ['symlink', 'symlink'],
  );
});

test('image "host" is programs, settings and the state of the package manager', async () => {
  const names = (await hostLayout([])).map((entry) => entry.name);
  assert.ok(names.includes('usr') && names.includes('etc'));
  for (const name of ['home', 'root', 'run', 'tmp', 'srv', 'opt', 'mnt']) assert.ok(!names.includes(name), name);
});
