import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createFixture, type Fixture } from '../testing/fixture.ts';
import { buildAgentLayer } from './layer.ts';

const run = promisify(execFile);
const MOST_AT_REST = 60_000_000;

let dir: string;
let layer: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'treeline-layer-'));
  layer = join(dir, 'layer');
  await buildAgentLayer(layer);
});
after(() => rm(dir, { recursive: true, force: true }));

/** Every entry of a tree with its mode, time and content. */
async function digest(folder: string): Promise<string> {
  const lines: string[] = [];
  const names = await readdir(folder, { recursive: true });
  for (const name of names.sort()) {
    const path = join(folder, name);
    const link = await readlink(path).catch(() => null);
    const stats = await stat(path);
    const content = link ?? (stats.isFile() ? await readFile(path, 'base64') : '');
    lines.push(`${name} ${(stats.mode & 0o7777).toString(8)} ${stats.mtimeMs} ${content}`);
  }
  return createHash('sha256').update(lines.join('\n')).digest('hex');
}

test('the same sources give the same layer, whatever the umask', async () => {
  const old = process.umask(0o077);
  try {
    await buildAgentLayer(join(dir, 'again'));
  } finally {
    process.umask(old);
  }
  assert.equal(await digest(join(dir, 'again')), await digest(layer));
});

test('the layer is one file of code without native parts, units that are wanted, and terms of what is in it', async () => {
  const code = await readFile(join(layer, 'usr/lib/treeline/agent.js'), 'utf8');
  const required = new Set([...code.matchAll(/\brequire\("([^"]+)"\)/g)].map((match) => match[1] ?? ''));
  const builtin = new Set(createRequire(import.meta.url)('node:module').builtinModules as string[]);
  for (const name of required) assert.ok(builtin.has(name.replace(/^node:/, '')), `${name} comes with Node`);
  assert.ok(!code.includes('koffi'));
  assert.match(await readFile(join(layer, 'usr/share/doc/treeline-agent/licences.txt'), 'utf8'), /^zod /m);
  const units = join(layer, 'usr/lib/systemd/system');
  for (const target of await readdir(units)) {
    if (!target.endsWith('.wants')) continue;
    for (const unit of await readdir(join(units, target))) await stat(join(units, target, unit));
  }
  for (const program of ['usr/bin/treeline-agent', 'usr/lib/treeline/boot-deadline']) {
    assert.equal((await stat(join(layer, program))).mode & 0o777, 0o755);
    await run('sh', ['-n', join(layer, program)]);
  }
});

/** Node 18, as Debian 12 has it: the npm package, since this machine may have another. */
const node18 = (() => {
  try {
    const home = dirname(createRequire(import.meta.url).resolve('node-18/package.json'));
    return join(home, 'bin/node');
  } catch {
    return null;
  }
})();
const needs =
  node18 === null
    ? 'npm has no Node 18 for this kind of machine'
    : process.getuid?.() !== 0 && 'ostree admin needs root';

test('under Node 18 the bundle enrols, updates a libostree sysroot, says so, and is small at rest', {
  skip: needs,
}, async (t) => {
  const fixture: Fixture = await createFixture({ memory: true });
  t.after(() => fixture.close());
  const board = join(fixture.dir, 'device');
  const program = join(layer, 'usr/bin/treeline-agent');
  const env = { ...process.env, PATH: `${dirname(node18 ?? '')}:${process.env.PATH ?? ''}` };
  const call = async (...args: string[]) => (await run(program, [...args, '--board', board], { env })).stdout;
  assert.match((await run('node', ['--version'], { env })).stdout, /^v18\./);

  const enrolled = await call(
    ...['enrol', '--gateway', fixture.url, '--token', fixture.token, '--id', 'robot-18'],
    ...['--sysroot', join(board, 'root'), '--os', 'robot'],
  );
  assert.equal(enrolled, 'robot-18 is enrolled and follows public:robot/edge\n');
  const release = await fixture.release({
    'usr/lib/treeline/check/required.d/10-fine': '#!/bin/sh\nexit 0\n',
  });
  fixture.offer(release);
  const said = await call('run', '--once');
  assert.match(said, /^good {9}[0-9a-f]{12}$/m);
  assert.ok(said.endsWith(`runs ${release}\n`));
  const status = await call('status');
  assert.match(status, new RegExp(`^state +good +${release.slice(0, 12)}$`, 'm'));
  assert.ok(
    status.split('\n').every((line) => line.length <= 80),
    status,
  );
  const { state } = JSON.parse(await call('status', '--json')) as { state: unknown };
  assert.deepEqual(state, { kind: 'good', release });

  const before = fixture.requests;
  const resting = spawn(program, ['run', '--poll', '0.5', '--board', board], { env, stdio: 'ignore' });
  t.after(() => resting.kill('SIGKILL'));
  const ended = once(resting, 'exit');
  for (let looks = 0; fixture.requests < before + 8; looks++) {
    assert.ok(looks < 1200 && resting.exitCode === null, 'it asks again and again');
    await sleep(100);
  }
  await sleep(1000);
  const memory = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${resting.pid}/status`, 'utf8'))?.[1];
  const bytes = Number(memory) * 1024;
  t.diagnostic(
    `bundle ${(await stat(join(layer, 'usr/lib/treeline/agent.js'))).size} bytes, at rest ${bytes} bytes of memory`,
  );
  assert.ok(bytes > 0 && bytes <= MOST_AT_REST, `${bytes} bytes at rest`);
  resting.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null], 'it ends when it is told to');
});
