import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import type { CheckPlace } from '../deploy/deployer.ts';
import { runChecks } from './checks.ts';

const folders: string[] = [];
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** A tree with the host's programs under /usr, and the given files. */
async function deployment(files: Record<string, string>): Promise<CheckPlace> {
  const base = await mkdtemp(join(tmpdir(), 'treeline-health-'));
  folders.push(base);
  const place: CheckPlace = {
    root: join(base, 'tree'),
    etc: join(base, 'tree/etc'),
    var: join(base, 'var'),
    run: 'sandbox',
  };
  await mkdir(place.etc, { recursive: true });
  await mkdir(place.var, { recursive: true });
  await mkdir(join(place.root, 'usr/bin'), { recursive: true });
  // One static-enough shell: dash and the libraries that it loads.
  for (const file of [
    '/bin/dash',
    '/bin/sleep',
    '/bin/cat',
    '/lib64/ld-linux-x86-64.so.2',
    '/lib/x86_64-linux-gnu/libc.so.6',
  ]) {
    const to = join(place.root, 'usr', file);
    await mkdir(dirname(to), { recursive: true });
    await writeFile(to, await readFile(file));
    await chmod(to, 0o755);
  }
  await symlink('dash', join(place.root, 'usr/bin/sh'));
  for (const name of ['bin', 'lib', 'lib64']) await symlink(`usr/${name}`, join(place.root, name));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(place.root, path)), { recursive: true });
    await writeFile(join(place.root, path), text, { mode: 0o755 });
  }
  return place;
}
const required = 'usr/lib/treeline/check/required.d';

test('all required checks pass: healthy, and wanted ones only warn', async () => {
  const place = await deployment({
    [`${required}/20-two`]: '#!/bin/sh\necho two\n',
    'etc/treeline/check/required.d/10-one': '#!/bin/sh\necho one\n',
    'usr/lib/greenboot/check/required.d/30-three': '#!/bin/sh\nexit 0\n',
    'usr/lib/treeline/check/wanted.d/10-nice': '#!/bin/sh\necho not today >&2\nexit 3\n',
    [`${required}/README`]: 'not a program',
  });
  await chmod(join(place.root, required, 'README'), 0o644);
  const report = await runChecks(place);
  assert.equal(report.healthy, true);
  assert.deepEqual(
    report.results.map((r) => [r.path.split('/').pop(), r.passed, r.output]),
    [
      ['10-one', true, 'one'],
      ['20-two', true, 'two'],
      ['30-three', true, ''],
      ['10-nice', false, 'not today'],
    ],
  );
});

test('the first required check that fails ends it, with its name, exit code and last lines', async () => {
  const place = await deployment({
    [`${required}/10-model`]: '#!/bin/sh\ni=0\nwhile [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done\nexit 7\n',
    [`${required}/20-never`]: '#!/bin/sh\n',
  });
  const report = await runChecks(place);
  assert.equal(report.healthy, false);
  assert.equal(report.results.length, 1);
  assert.match(report.why ?? '', /^health check 10-model failed with exit code 7:\nline 80\n[\s\S]*line 99$/);
});

test('a check that hangs is ended with all that it started', async () => {
  const place = await deployment({ [`${required}/10-hang`]: '#!/bin/sh\nsleep 100 &\nsleep 100\n' });
  const started = Date.now();
  const report = await runChecks(place, { timeoutMs: 300 });
  assert.ok(Date.now() - started < 60_000);
  assert.match(report.why ?? '', /10-hang ran past its time limit/);
});

test('a check sees the deployment and nothing else: read-only, no network, /var kept, /tmp its own', async () => {
  const place = await deployment({
    'etc/name': 'robot',
    [`${required}/10-look`]: [
      '#!/bin/sh',
      'set -e',
      '[ "$(cat /etc/name)" = robot ]',
      '! (echo x > /usr/x) 2>/dev/null',
      '! (echo x > /etc/x) 2>/dev/null',
      '! (echo x > /x) 2>/dev/null',
      'echo x > /tmp/x',
      'echo kept > /var/kept',
      '[ ! -e /work ] && [ ! -e /home ]',
      'while read -r line; do case "$line" in *:*) echo "$line";; esac; done < /proc/net/dev',
      'echo "secret=$TREELINE_SECRET"',
      '',
    ].join('\n'),
  });
  process.env.TREELINE_SECRET = 'x';
  const report = await runChecks(place);
  assert.equal(report.why, null);
  assert.equal(await readFile(join(place.var, 'kept'), 'utf8'), 'kept\n');
  assert.match(report.results[0]?.output ?? '', /^\s*lo:[^\n]*\nsecret=$/);
});

test('a check without its interpreter, or with a signal for an end, is a failed check', async () => {
  const place = await deployment({ [`${required}/10-x`]: '#!/no/such/program\n' });
  assert.equal((await runChecks(place)).healthy, false);
  const other = await deployment({ [`${required}/10-x`]: '#!/bin/sh\nkill -9 $$\n' });
  assert.equal((await runChecks(other)).healthy, false);
});

test('no checks at all: healthy', async () => {
  assert.equal((await runChecks(await deployment({}))).healthy, true);
});
