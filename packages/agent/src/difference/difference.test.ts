import assert from 'node:assert/strict';
import { chmod, lutimes, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findDifference } from './difference.ts';

test('what was changed on a board by hand is found, with its content, but for secrets', async () => {
  const root = await mkdtemp(join(tmpdir(), 'treeline-difference-'));
  try {
    const etc = join(root, 'etc');
    for (const folder of ['usr/etc/app', 'usr/bin', 'etc/app', 'etc/new'])
      await mkdir(join(root, folder), { recursive: true });
    const put = async (path: string, text: string, mode = 0o644) => {
      await writeFile(join(root, path), text);
      await chmod(join(root, path), mode);
    };
    for (const place of ['usr/etc', 'etc']) {
      await put(`${place}/same`, 'same');
      await put(`${place}/app/speed`, 'slow');
      await put(`${place}/mode`, 'x');
      await put(`${place}/shadow`, 'root:*', 0o640);
    }
    await put('usr/etc/gone', 'gone');
    await put('etc/app/speed', 'fast');
    await put('etc/mode', 'x', 0o755);
    await put('etc/shadow', 'root:hash', 0o600);
    await put('etc/new/file', 'new');
    await symlink('/usr/share/zoneinfo/UTC', join(etc, 'localtime'));
    await put('usr/bin/shipped', 'shipped');
    await put('usr/bin/patched', 'by hand');
    await symlink('shipped', join(root, 'usr/bin/link'));
    await utimes(join(root, 'usr/bin/shipped'), 0, 0);
    await lutimes(join(root, 'usr/bin/link'), 0, 0);

    const { changes, complete } = await findDifference({ root, etc });
    assert.equal(complete, true);
    const told = changes.map(({ path, change, omitted }) => `${change} ${path}${omitted ? ` (${omitted})` : ''}`);
    assert.deepEqual(told, [
      'changed /etc/app/speed',
      'removed /etc/gone',
      'added /etc/localtime',
      'changed /etc/mode',
      'added /etc/new',
      'added /etc/new/file',
      'changed /etc/shadow (secret)',
      'changed /usr/bin/patched',
    ]);
    const speed = changes.find(({ path }) => path === '/etc/app/speed');
    assert.equal(Buffer.from(speed?.content ?? '', 'base64').toString(), 'fast');
    assert.equal(changes.find(({ path }) => path === '/etc/localtime')?.target, '/usr/share/zoneinfo/UTC');
    assert.equal(changes.find(({ path }) => path === '/etc/mode')?.mode, 0o755);

    const short = await findDifference({ root, etc }, { limits: { changes: 2, contentBytes: 3 } });
    assert.equal(short.complete, false);
    assert.equal(short.changes.length, 2);
    assert.equal(short.changes[0]?.omitted, 'large');
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});
