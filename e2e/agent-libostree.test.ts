// The agent deploys with whichever `ostree` the system has. Its own tests of that run with this machine's; here they run
// again with that of the next Debian release.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { writeTrixieProgram } from './testing/ostree-client.ts';

const run = promisify(execFile);
const TESTS = resolve(import.meta.dirname, '../packages/agent/src/deploy/ostree-sysroot');
const skip =
  process.getuid?.() === 0 && process.arch === 'x64' ? false : 'ostree admin needs root, and this one x86_64';

test("the agent's tests of a libostree sysroot pass with Debian 13's libostree", { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-trixie-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const version = writeTrixieProgram(folder);
  assert.match(version, /^libostree 20(2[3-9]|[3-9]\d)\./);
  const env: NodeJS.ProcessEnv = { ...process.env, PATH: `${folder}${delimiter}${process.env.PATH ?? ''}` };
  // With it, node:test would take the process for one of its own, and say nothing.
  delete env.NODE_TEST_CONTEXT;
  assert.match(execFileSync('ostree', ['admin', '--help'], { encoding: 'utf8', env }), /^ +set-default /m);
  for (const name of ['ostree-sysroot.test.ts', 'boot-loaders.test.ts']) {
    await t.test(`${name} with ${version}`, async () => {
      const args = ['--test-reporter=tap', join(TESTS, name)];
      const { stdout } = await run(process.execPath, args, { env, maxBuffer: 2 ** 26 });
      assert.match(stdout, /^# fail 0$/m);
      assert.match(stdout, /^# skipped 0$/m);
      assert.match(stdout, /^# pass [1-9]/m);
    });
  }
});
