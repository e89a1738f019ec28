import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from './testing/sandbox-job.ts';
import { eventually, outputsOf, startTestServer, TEST_TOKEN } from './testing/server.ts';
import { testStore } from './testing/store.ts';

const entry = fileURLToPath(new URL('./testing/runner-process.ts', import.meta.url));
const NOBODY = 65534;

/** Starts a runner as a process of its own, as the server does. */
function startRunner(o: {
  folder: string;
  url: string;
  environment?: Record<string, string>;
  uid?: number;
}): ChildProcess {
  return spawn(process.execPath, [entry], {
    cwd: o.folder,
    env: {
      PATH: process.env.PATH,
      TREELINE_SERVER: o.url,
      TREELINE_RUNNER_TOKEN: TEST_TOKEN,
      TREELINE_STORE: join(o.folder, 'store'),
      TREELINE_RUNNER_DIR: join(o.folder, 'work'),
      TREELINE_CONCURRENCY: '1',
      ...o.environment,
    },
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    ...(o.uid === undefined ? {} : { uid: o.uid, gid: o.uid }),
  });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise((resolve) => child.once('exit', resolve));
}

/** Processes that have a text in their command line. */
async function processesWith(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(pid)) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(text)) found.push(line.replaceAll('\0', ' '));
  }
  return found;
}

/** A script that runs a process which can be told from all others, below another. */
const longJob = (mark: string): string => `echo begun; setsid sleep ${mark} & sleep ${mark}`;

/** What is told to end takes the time that a busy machine takes for it. */
async function untilProcessesWith(mark: string, fits: (found: readonly string[]) => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const found = await processesWith(mark);
    if (fits(found)) return;
    assert.ok(Date.now() < deadline, `after a minute: ${found.join()}`);
    await sleep(20);
  }
}

const isGone = (found: readonly string[]): boolean => found.length === 0;

test('kill -9 of a runner takes its job with it, and the next one removes what it left and goes on', async () => {
  await using folder = await temporaryFolder();
  await testStore(folder.path);
  const server = await startTestServer();
  const mark = `1000.${process.pid}1`;
  const execution = server.enqueue({ command: longJob(mark) });
  const first = startRunner({ folder: folder.path, url: server.url });
  let second: ChildProcess | null = null;
  try {
    await eventually(() => execution.log !== '', 'the job runs');
    await untilProcessesWith(mark, (found) => found.length >= 2);
    first.kill('SIGKILL');
    await ended(first);
    await untilProcessesWith(mark, isGone);
    const [left] = await readdir(join(folder.path, 'work/jobs'));
    assert.ok(left);
    const next = server.enqueue({ command: 'echo > $OUT/file', outputs: [{ name: 'all', path: '.' }] });
    second = startRunner({ folder: folder.path, url: server.url });
    outputsOf(await next.completed);
    assert.equal(existsSync(join(folder.path, 'work/jobs', left)), false);
  } finally {
    first.kill('SIGKILL');
    second?.kill('SIGTERM');
    if (second) await ended(second);
    await server.close();
  }
});

test('kill -9 of a runner without a sandbox leaves its job to the next runner, that ends it', async () => {
  await using folder = await temporaryFolder();
  await testStore(folder.path);
  const server = await startTestServer();
  const mark = `1000.${process.pid}2`;
  const execution = server.enqueue({ command: longJob(mark) });
  const environment = { TREELINE_UNSANDBOXED: '1' };
  const first = startRunner({ folder: folder.path, url: server.url, environment });
  await eventually(() => execution.log.includes('begun'), 'the job runs');
  assert.match(execution.log, /^treeline: this runner was started with --unsandboxed/);
  first.kill('SIGKILL');
  await ended(first);
  const second = startRunner({ folder: folder.path, url: server.url, environment });
  try {
    await server.enqueue({}).completed;
    await untilProcessesWith(mark, isGone);
  } finally {
    second.kill('SIGTERM');
    await ended(second);
    await server.close();
  }
});

test('SIGTERM ends a runner and its job, and the server hears that the job is not to blame', async () => {
  await using folder = await temporaryFolder();
  await testStore(folder.path);
  const server = await startTestServer();
  const mark = `1000.${process.pid}3`;
  const execution = server.enqueue({ command: longJob(mark) });
  const runner = startRunner({ folder: folder.path, url: server.url });
  await eventually(() => execution.log !== '', 'the job runs');
  runner.kill('SIGTERM');
  await ended(runner);
  assert.equal(runner.exitCode, 0);
  assert.deepEqual(execution.result, { status: 'infrastructure', message: 'the runner was stopped' });
  await untilProcessesWith(mark, isGone);
  await server.close();
});

test('a runner ends when the server that started it is gone', async () => {
  await using folder = await temporaryFolder();
  await testStore(folder.path);
  const server = await startTestServer();
  const mark = `1000.${process.pid}4`;
  const execution = server.enqueue({ command: longJob(mark) });
  // A parent between this process and the runner, to be killed.
  const script = `
    const { spawn } = require('node:child_process');
    const child = spawn(process.execPath, [${JSON.stringify(entry)}],
      { env: { ...process.env, TREELINE_PARENT: String(process.pid) }, stdio: 'ignore' });
    require('node:fs').writeFileSync('runner.pid', String(child.pid));
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ['-e', script], {
    cwd: folder.path,
    env: {
      PATH: process.env.PATH,
      TREELINE_SERVER: server.url,
      TREELINE_RUNNER_TOKEN: TEST_TOKEN,
      TREELINE_STORE: join(folder.path, 'store'),
      TREELINE_RUNNER_DIR: join(folder.path, 'work'),
    },
    stdio: 'ignore',
  });
  await eventually(() => execution.log !== '', 'the job runs');
  const pid = await readFile(join(folder.path, 'runner.pid'), 'utf8');
  parent.kill('SIGKILL');
  await ended(parent);
  const stat = (): string => {
    try {
      return execFileSync('ps', ['-o', 'stat=', '-p', pid], { encoding: 'utf8' }).trim();
    } catch {
      return '';
    }
  };
  await eventually(() => ['', 'Z'].includes(stat().charAt(0)), 'the runner ends');
  await untilProcessesWith(mark, isGone);
  await server.close();
});

test('an unprivileged user runs jobs as root does, and makes the same trees', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('only root can become another user');
  await using folder = await temporaryFolder();
  const { put } = await testStore(folder.path);
  const server = await startTestServer();
  const job = {
    source: await put({ 'a.txt': 'a' }),
    inputs: [{ name: 'in', tree: await put({ 'dir/b.txt': 'b' }) }],
    command: `
      id -u; touch /usr/x 2>/dev/null && echo escaped
      cat a.txt /in/in/dir/b.txt > $OUT/ab; mkdir $OUT/sealed; echo x > $OUT/sealed/x; chmod 555 $OUT/sealed
      mkdir /tmp/closed; touch /tmp/closed/file; chmod 0 /tmp/closed`,
    outputs: [{ name: 'all', path: '.' }],
  };
  const asRoot = server.enqueue(job);
  const first = startRunner({ folder: folder.path, url: server.url });
  const outputs = outputsOf(await asRoot.completed);
  first.kill('SIGTERM');
  await ended(first);

  execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, folder.path]);
  const asNobody = server.enqueue(job);
  const second = startRunner({ folder: folder.path, url: server.url, uid: NOBODY });
  try {
    assert.deepEqual(outputsOf(await asNobody.completed), outputs);
    assert.equal(asNobody.log, '1000\n');
    // What has folders that their owner may not write to is checked out and removed like all else.
    const command = 'test "$(cat /in/in/sealed/x)" = x; test ! -w /in/in/sealed; cp -a /in/in/. .';
    const again = server.enqueue({ inputs: [{ name: 'in', tree: outputs.all! }], source: outputs.all!, command });
    outputsOf(await again.completed);
    assert.deepEqual(await readdir(join(folder.path, 'work/jobs')), []);
  } finally {
    second.kill('SIGTERM');
    await ended(second);
    await server.close();
  }
});
