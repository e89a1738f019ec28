import assert from 'node:assert/strict';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runScript, temporaryFolder } from '../testing/sandbox-job.ts';
import { chooseSandbox } from './choose.ts';
import { openUnsandboxed } from './none.ts';

test('only who asks for no sandbox gets none', async () => {
  assert.equal((await chooseSandbox(false)).kind, 'bubblewrap');
  assert.equal((await chooseSandbox(true)).kind, 'none');
});

test('without a sandbox a job finds its folders by its environment', async () => {
  await using folder = await temporaryFolder();
  const input = join(folder.path, 'input');
  await mkdir(input);
  await writeFile(join(input, 'data'), 'data\n');
  const script = 'cat "$IN/app/data"; echo made > "$OUT/file"; pwd; test "$(pwd)" = "$SRC"; exit 3';
  const { ending, output, dir } = await runScript(openUnsandboxed(), folder.path, script, {
    inputs: [{ name: 'app', dir: input }],
  });
  assert.equal(output, `data\n${dir}/src\n`);
  assert.equal(ending.kind === 'exited' && ending.exitCode, 3);
  assert.equal(await readFile(join(dir, 'out/file'), 'utf8'), 'made\n');
});

test('without a sandbox, too, nothing of a job outlives it', async () => {
  await using folder = await temporaryFolder();
  const script = '(setsid sh -c "while :; do date > \\"$OUT/beat\\"; done" >/dev/null 2>&1 &)\nsleep 60';
  const { ending, dir } = await runScript(openUnsandboxed(), folder.path, script, { timeoutSeconds: 5 });
  assert.equal(ending.kind === 'stopped' && ending.why, 'timeout');
  const { mtimeMs } = await stat(join(dir, 'out/beat'));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal((await stat(join(dir, 'out/beat'))).mtimeMs, mtimeMs);
});

test('without a sandbox a job with an image of its own is refused', async () => {
  await using folder = await temporaryFolder();
  await assert.rejects(runScript(openUnsandboxed(), folder.path, 'true', { image: folder.path }), {
    code: 'no-sandbox',
  });
});
