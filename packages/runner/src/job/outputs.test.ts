import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../testing/sandbox-job.ts';
import { findOutput } from './outputs.ts';

test('a folder below /out is found, and /out itself', async () => {
  await using out = await temporaryFolder();
  await mkdir(join(out.path, 'a/b'), { recursive: true });
  await symlink('/etc/passwd', join(out.path, 'a/link'));
  assert.deepEqual(await findOutput(out.path, { name: 'x', path: 'a/b' }), {
    kind: 'found',
    folder: join(out.path, 'a/b'),
  });
  assert.equal((await findOutput(out.path, { name: 'x', path: '.' })).kind, 'found');
});

test('a missing output is named, with what is there instead', async () => {
  await using out = await temporaryFolder();
  const output = { name: 'model', path: 'model' };
  assert.deepEqual(await findOutput(out.path, output), {
    kind: 'output-missing',
    message: 'output "model" is missing: the job passed, but made no /out/model; /out is empty',
  });
  await mkdir(join(out.path, 'models'));
  await writeFile(join(out.path, 'log.txt'), '');
  assert.deepEqual(await findOutput(out.path, output), {
    kind: 'output-missing',
    message: 'output "model" is missing: the job passed, but made no /out/model; /out holds log.txt, models/',
  });
});

test('what is no folder is invalid, and no link is followed', async () => {
  await using out = await temporaryFolder();
  await using elsewhere = await temporaryFolder();
  await mkdir(join(elsewhere.path, 'secrets'));
  await writeFile(join(out.path, 'file'), '');
  await symlink(elsewhere.path, join(out.path, 'link'));
  for (const [path, message] of [
    ['file', /\/out\/file is a file; an output is a folder/],
    ['link', /\/out\/link is a symlink/],
    ['link/secrets', /on the way to \/out\/link\/secrets is a file or a symlink/],
    ['file/x', /on the way/],
  ] as const) {
    const found = await findOutput(out.path, { name: 'x', path });
    assert.equal(found.kind, 'output-invalid', path);
    assert.match(found.kind === 'output-invalid' ? found.message : '', message);
  }
});

test('what no tree can hold is invalid, and named', async () => {
  await using out = await temporaryFolder();
  await mkdir(join(out.path, 'a/b'), { recursive: true });
  execFileSync('/usr/bin/mkfifo', [join(out.path, 'a/b/pipe')]);
  const pipe = await findOutput(out.path, { name: 'x', path: 'a' });
  assert.match(pipe.kind === 'output-invalid' ? pipe.message : '', /\/out\/a\/b\/pipe is a device, a socket or a pipe/);
  await mkdir(join(out.path, 'c'));
  await writeFile(Buffer.concat([Buffer.from(join(out.path, 'c/')), Buffer.from([0xff, 0xfe])]), '');
  const name = await findOutput(out.path, { name: 'x', path: 'c' });
  assert.match(name.kind === 'output-invalid' ? name.message : '', /is not UTF-8/);
});
