import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Ended, treeline } from './testing/command.ts';

// The real server, started by the command itself. Its pipeline only composes, which the server does without a runner.

const git = promisify(execFile);
const pipeline = `jobs:
  system:
    compose:
      - source: root
        at: /
    output: system
publish:
  - artifact: system
    channel: robot/edge
`;

let folder = '';
let env: Record<string, string> = {};
let ended: Promise<Ended> = Promise.resolve({ code: null, signal: null, stdout: '', stderr: '' });
let stop: (signal: NodeJS.Signals) => void = () => {};
let diary = '';
let complaints = '';
let firstRelease = '';

/** Starts `treeline up` and resolves to its first line. */
async function up(): Promise<{ url: string; gatewayUrl: string; firstStart: boolean }> {
  const first = Promise.withResolvers<string>();
  diary = '';
  ended = treeline(['up', '--json', '--port', '0', '--gateway-port', '0', '--no-runner', '--poll', '60'], {
    env,
    started: (kill) => {
      stop = kill;
    },
    onOutput: (stdout, stderr) => {
      diary = stdout;
      complaints = stderr;
      if (stdout.includes('\n')) first.resolve(stdout.slice(0, stdout.indexOf('\n')));
    },
  });
  const line = await Promise.race([first.promise, ended.then(({ stderr }) => assert.fail(stderr))]);
  return JSON.parse(line) as { url: string; gatewayUrl: string; firstStart: boolean };
}

async function commit(text: string): Promise<void> {
  const repository = join(folder, 'robot');
  await writeFile(join(repository, 'root', 'file'), text);
  const identity = ['-c', 'user.name=Tester', '-c', 'user.email=tester@example.org'];
  await git('git', ['-C', repository, 'add', '-A']);
  await git('git', ['-C', repository, ...identity, 'commit', '-q', '-m', `Say ${text}`]);
}

/** Runs a verb against the server and expects it to go well; the text of stdout. */
async function does(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await treeline(args, { env });
  assert.deepEqual([code, stderr], [0, ''], args.join(' '));
  return stdout;
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'treeline-cli-'));
  env = {
    TREELINE_DATA: join(folder, 'data'),
    XDG_CONFIG_HOME: folder,
    TREELINE_WORKSPACES: join(folder, 'workspaces'),
  };
  await mkdir(join(folder, 'robot', 'root'), { recursive: true });
  await git('git', ['init', '-q', '-b', 'main', join(folder, 'robot')]);
  await writeFile(join(folder, 'robot', 'treeline.yaml'), pipeline);
  await commit('hello');
});

after(async () => {
  stop('SIGTERM');
  await ended;
  await rm(folder, { recursive: true, force: true });
});

test('from a repository to a release, a difference, a checkout and a device', async () => {
  const { url, gatewayUrl, firstStart } = await up();
  assert.equal(firstStart, true);
  assert.equal((await stat(join(folder, 'data', 'admin-token'))).mode & 0o777, 0o600);

  assert.match(await does('project', 'add', join(folder, 'robot'), '--no-run'), /^robot follows main of /);
  assert.match(
    await does('run', 'robot', '--wait'),
    /passed {4}robot\/system[\s\S]*published [0-9a-f]{10}\nRun 1 passed/,
  );
  await commit('goodbye');
  assert.match(await does('run', 'robot', '--wait'), /Run 2 passed/);
  assert.match(await does('status'), /^robot\/system {2}passed {2}\S+.* changed/m);
  assert.match(await does('runs'), /^ +2 {2}passed[\s\S]*^ +1 {2}passed/m);
  assert.match(await does('project'), /^robot +main +[0-9a-f]{10} +Say goodbye/m);
  assert.match(await does('release'), /^ +\d+ {2}\* {2}public:robot\/edge/m);
  assert.match(await does('show', 'robot/edge'), /^artifact +robot\/system$[\s\S]*Say goodbye/m);
  const diff = JSON.parse(await does('diff', 'robot/edge^', 'robot/edge', '--json')) as {
    changes: object[];
    from: string;
  };
  assert.deepEqual(
    diff.changes.map((change) => ({ ...change, before: 0, after: 0, download: 0 })),
    [{ kind: 'modified', path: '/file', differs: ['content'], before: 0, after: 0, download: 0 }],
  );
  firstRelease = diff.from;
  await does('publish', diff.from, '--to', 'robot/old', '--expect', 'none');
  const again = await treeline(['publish', 'robot/edge', '--to', 'robot/old', '--expect', 'none'], { env });
  assert.equal(again.code, 6, again.stderr);

  await does('checkout', 'robot/edge', join(folder, 'tree'));
  assert.equal(await readFile(join(folder, 'tree', 'file'), 'utf8'), 'goodbye');
  const full = await treeline(['checkout', 'robot/edge', join(folder, 'tree')], { env });
  assert.equal(full.code, 6);

  const board = join(folder, 'board');
  const { token } = JSON.parse(await does('devices', 'enrol-token', '--channel', 'robot/edge', '--json')) as {
    token: string;
  };
  await does('agent', 'enrol', '--board', board, '--gateway', gatewayUrl, '--token', token, '--id', 'board-1');
  assert.match(await does('agent', 'status', '--board', board), /^device +board-1\nstate +idle/);
  assert.match(await does('devices'), /^board-1 /m);

  const wrong = await treeline(['runs', '--server', url, '--token', 'wrong'], { env });
  assert.equal(wrong.code, 4, wrong.stderr);
  const busy = await treeline(['up', '--port', '0', '--gateway-port', '0'], { env });
  assert.equal(busy.code, 6);
  assert.match(busy.stderr, /in use by another Treeline server/);
  const types = diary
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { type: string }).type);
  for (const type of ['up', 'project.added', 'run.created', 'job.finished', 'release.published', 'device.enrolled']) {
    assert.ok(types.includes(type), `${type} in ${types.join(' ')}`);
  }
});

test('Ctrl-C closes the server, and the next start goes on with what there was', async () => {
  stop('SIGINT');
  const { code, signal, stderr } = await ended;
  assert.deepEqual([code, signal, stderr], [0, null, '']);
  const gone = await treeline(['runs'], { env });
  assert.equal(gone.code, 3);
  assert.match(gone.stderr, /No server is running here[\s\S]*treeline up/);

  // By a commit's checksum a checkout works without a server; what a channel has only the server knows.
  await does('checkout', firstRelease.slice(0, 12), join(folder, 'offline'));
  assert.equal(await readFile(join(folder, 'offline', 'file'), 'utf8'), 'hello');
  const missing = await treeline(['checkout', 'robot/edge', join(folder, 'unknown')], { env });
  assert.equal(missing.code, 5, missing.stderr);

  assert.equal((await up()).firstStart, false);
  assert.match(await does('runs'), /^ +2 {2}passed/m);
});

test('SIGHUP makes it read its settings again; bad ones change nothing, and it stays up', async () => {
  const told = async (pattern: RegExp, text = () => diary) => {
    for (let left = 1200; !pattern.test(text()); left--) {
      assert.ok(left > 0, text());
      await sleep(50);
    }
  };
  const file = join(folder, 'data', 'settings.json');
  await writeFile(file, JSON.stringify({ unusedDays: 90, maxConnections: 100, pollSeconds: 1 }));
  stop('SIGHUP');
  // The command line said how often it polls.
  await told(/\{"type":"reloaded","changed":\["unusedDays"\],"later":\["maxConnections"\]\}/);
  await writeFile(file, JSON.stringify({ unusedDays: 1, nonsense: true }));
  stop('SIGHUP');
  await told(/nonsense/, () => complaints);
  await writeFile(file, JSON.stringify({ unusedDays: 30 }));
  stop('SIGHUP');
  await told(/"reloaded"[^\n]*\n[\s\S]*\{"type":"reloaded","changed":\["unusedDays"\],"later":\[\]\}/);
  const changes = JSON.parse(await does('audit', '--json')) as { entries: { action: string; data: object }[] };
  assert.deepEqual(
    changes.entries.filter(({ action }) => action === 'settings.change').map(({ data }) => data),
    [{ unusedDays: 30 }, { unusedDays: 90 }],
  );
  await does('runs');
});

test('a server is not put on the network by accident', async () => {
  const { code, stderr } = await treeline(['up', '--listen', '0.0.0.0', '--data', join(folder, 'other')], { env });
  assert.equal(code, 2);
  assert.match(stderr, /would listen on 0\.0\.0\.0[\s\S]*--allow-remote/);
});
