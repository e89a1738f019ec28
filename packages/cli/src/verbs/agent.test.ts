import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadSettings, type RunningServer, startServer } from '@treeline/server';
import { treeline } from '../testing/command.ts';

// By hand on a virtual board of a real server: what is offered, staying, going back.

const PIPELINE = `jobs:
  system: { compose: [{ source: root, at: / }], output: system }
publish:
  - artifact: system
    channel: robot/edge
`;

let folder = '';
let board = '';
let server: RunningServer;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'treeline-agent-verbs-'));
  board = join(folder, 'board');
  const hidden = { runner: false, pollSeconds: 3600, logLevel: 'silent', hostImage: 'test' } as const;
  const dataDir = join(folder, 'data');
  server = await startServer(loadSettings({ dataDir, port: 0, gatewayPort: 0, ...hidden }));
  execFileSync('git', ['init', '-q', '-b', 'main', join(folder, 'robot')]);
});
after(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

const call = (...args: string[]) => treeline(args, { env: { TREELINE_DATA: join(folder, 'data') }, cwd: folder });
async function does(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await call(...args);
  assert.deepEqual([code, stderr], [0, ''], args.join(' '));
  return stdout;
}
const onBoard = (verb: string, ...args: string[]) => does('agent', verb, '--board', board, ...args);

/** Publishes a release; resolves to its commit. */
async function release(text: string): Promise<string> {
  await commit(text);
  await does('run', 'robot', '--wait');
  return (JSON.parse(await does('show', 'robot/edge', '--json')) as { commit: string }).commit;
}

async function commit(text: string): Promise<void> {
  const source = join(folder, 'robot');
  await mkdir(join(source, 'root/usr/share'), { recursive: true });
  await writeFile(join(source, 'treeline.yaml'), PIPELINE);
  await writeFile(join(source, 'root/usr/share/version'), text);
  const identity = ['-c', 'user.name=Tester', '-c', 'user.email=tester@example.org'];
  execFileSync('git', ['-C', source, 'add', '-A']);
  execFileSync('git', ['-C', source, ...identity, 'commit', '-q', '-m', text]);
}

test('a board is asked what it would take, kept where it is, let go on, and sent back', async () => {
  await commit('nothing yet');
  await does('project', 'add', join(folder, 'robot'), '--no-run');
  const first = await release('one');
  const enrolment = JSON.parse(await does('devices', 'enrol-token', '--channel', 'robot/edge', '--json')) as {
    token: string;
    gateway: string;
  };
  await onBoard('enrol', '--gateway', enrolment.gateway, '--token', enrolment.token, '--id', 'board-1');

  assert.match(
    await onBoard('check'),
    new RegExp(
      `^runs +nothing\\noffered +${first.slice(0, 10)}\\w*\\nto fetch +.* in \\d+ objects\\ntaken +when the agent runs\\n$`,
    ),
  );
  const back = await call('agent', 'rollback', '--board', board);
  assert.equal(back.code, 2);
  assert.match(back.stderr, /there is no other deployment to go back to\n {2}A board has one after its first update/);
  await onBoard('run', '--once');
  assert.match(await onBoard('check'), /^runs +[0-9a-f]+\noffered +what it runs: nothing is to be done\n$/);

  const pinned = await onBoard('pin', '--why', 'demo on Friday');
  assert.match(pinned, /^pinned: demo on Friday\ntreeline agent unpin --board \S+\n$/);
  const second = await release('two');
  assert.match(await onBoard('check'), /^not now +.*demo on Friday/m);
  assert.match(await onBoard('status'), /demo on Friday/);
  await onBoard('run', '--once');
  const held = JSON.parse(await onBoard('check', '--json')) as Record<string, unknown>;
  assert.deepEqual([held.booted, held.offered, held.told], [first, second, false]);
  assert.match(String(held.held), /demo on Friday/);

  assert.equal(await onBoard('unpin'), 'updates go on\n');
  assert.deepEqual(JSON.parse(await onBoard('unpin', '--json')), { pinned: null });
  await onBoard('run', '--once');
  assert.equal((JSON.parse(await onBoard('check', '--json')) as { booted: string }).booted, second);

  assert.match(
    await onBoard('rollback', '--why', 'the arm shakes'),
    new RegExp(`^gone back from ${second.slice(0, 10)} to ${first.slice(0, 10)}\\n$`),
  );
  await onBoard('run', '--once');
  // The server knows by now, and offers it what is before.
  const after = JSON.parse(await onBoard('check', '--json')) as Record<string, unknown>;
  assert.deepEqual([after.booted, after.offered], [first, first]);
  assert.match(await onBoard('status'), /the arm shakes/);
  assert.match(await does('devices', 'show', 'board-1'), /the arm shakes/);
  // There is nothing further back: what was left is no way out.
  assert.equal((await call('agent', 'rollback', '--board', board)).code, 2);
});

test('a folder that is no board, and a server that is away, are said with what to do', async () => {
  for (const verb of ['check', 'rollback', 'pin', 'unpin', 'status']) {
    const { code, stdout, stderr } = await call('agent', verb, '--board', join(folder, 'no-board'));
    assert.deepEqual([code, stdout], [5, ''], `${verb}: ${stderr}`);
    assert.match(stderr, /enrolled/, verb);
    const nameless = await call('agent', verb);
    assert.equal(nameless.code, 2);
    assert.match(nameless.stderr, /Which board\? --board is missing, and TREELINE_BOARD is not set/);
  }
  const json = await call('agent', 'check', '--board', join(folder, 'no-board'), '--json');
  assert.equal((JSON.parse(json.stderr) as { error: { exitCode: number } }).error.exitCode, 5);
  const extra = await call('agent', 'pin', 'demo', '--board', board);
  assert.equal(extra.code, 2);
  // The text of a pin comes from people, and goes to other people's terminals.
  assert.match(await onBoard('pin', '--why', 'a\u001b[31mb\nc'), /^pinned: ab c\n/);
  assert.ok(!(await onBoard('status')).includes('\u001b'));

  await server.close();
  const away = await call('agent', 'check', '--board', board);
  assert.equal(away.code, 3, away.stderr);
  assert.match(
    away.stderr,
    /did not answer: .*\n {2}What the board runs stays\. Is the server up, and is the way to it open\?\n$/,
  );
});
