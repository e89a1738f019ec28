// What a developer does with a robot that misbehaves: takes what is in production, changes it in a shell, commits it, lets
// the robot run it, sees exactly what had to be changed, and sends the robot back.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { scratchFolder } from './testing/scratch.ts';
import { TreelineServer, treelineBin } from './testing/treeline-server.ts';

const PIPELINE = `
jobs:
  system:
    compose:
      - source: root
        at: /
    output: system
publish:
  - artifact: system
    channel: robot/stable
`;

/** A shell and what it needs, a setting, and a health check: a system that boots on a virtual board. */
function writeSystem(root: string): void {
  const add = (path: string, text: string, mode = 0o644) => {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), text, { mode });
  };
  for (const program of ['/bin/dash', '/bin/cat', '/bin/touch']) {
    const libraries = execFileSync('ldd', [program], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
    for (const path of [program, ...libraries]) {
      const to = join(root, 'usr', path.replace(/^\/usr\//, '/'));
      mkdirSync(join(to, '..'), { recursive: true });
      execFileSync('cp', ['--dereference', path, to]);
    }
  }
  execFileSync('ln', ['-s', 'dash', join(root, 'usr/bin/sh')]);
  for (const name of ['bin', 'lib', 'lib64']) execFileSync('ln', ['-s', `usr/${name}`, join(root, name)]);
  add(
    'usr/lib/treeline/check/required.d/10-speed',
    '#!/bin/sh\nread -r speed < /etc/speed\ntest "$speed" != broken\n',
    0o755,
  );
  add('usr/etc/speed', 'slow\n');
  add('usr/share/app', 'print("hello")\n');
}

class Robot {
  readonly folder: string;
  readonly server: TreelineServer;
  readonly board: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor(folder: string) {
    this.folder = folder;
    this.server = new TreelineServer(join(folder, 'data'));
    this.board = join(folder, 'board');
    this.#env = { ...process.env, TREELINE_DATA: this.server.data, TREELINE_WORKSPACES: join(folder, 'mine') };
  }

  /** Runs the CLI, as the developer or on the board, and expects it to go well. */
  treeline(...args: string[]): Promise<string> {
    return this.#run(args, 0);
  }

  async #run(args: string[], expected: number): Promise<string> {
    const child = spawn(process.execPath, [treelineBin, ...args], {
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const [status] = (await once(child, 'close')) as [number | null];
    assert.equal(status, expected, `treeline ${args.join(' ')}:\n${output}`);
    return output;
  }

  fails(status: number, ...args: string[]): Promise<string> {
    return this.#run(args, status);
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.treeline(...args, '--json')) as T;
  }

  /** A verb that goes on; resolves with its first lines of JSON. */
  async start(t: TestContext, ...args: string[]): Promise<{ url: string }> {
    const child: ChildProcess = spawn(process.execPath, [treelineBin, ...args, '--json'], {
      env: this.#env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    t.after(async () => {
      child.kill('SIGINT');
      assert.deepEqual(await ended, [0, null]);
    });
    const died = ended.then(() => Promise.reject(new Error(`treeline ${args.join(' ')} ended at once`)));
    const [line] = await Promise.race([once(createInterface(child.stdout!), 'line'), died]);
    return JSON.parse(String(line)) as { url: string };
  }

  async begin(): Promise<void> {
    const clone = join(this.folder, 'clone');
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', clone, '-c', 'user.name=T', '-c', 'user.email=t@example.org', ...args], {
        stdio: 'pipe',
      });
    mkdirSync(clone);
    writeSystem(join(clone, 'root'));
    writeFileSync(join(clone, 'treeline.yaml'), PIPELINE);
    git('init', '--quiet', '--initial-branch=main');
    git('add', '--all');
    git('commit', '--quiet', '-m', 'The robot');
    await this.server.start();
    await this.treeline('project', 'add', clone, '--name', 'robot', '--no-run');
    await this.treeline('run', 'robot', '--wait');
    const { token } = await this.json<{ token: string }>('devices', 'enrol-token', '--channel', 'robot/stable');
    const place = ['--board', this.board, '--gateway', this.server.gateway];
    await this.treeline('agent', 'enrol', ...place, '--id', 'robot-1', '--token', token);
    await this.treeline('agent', 'run', '--once', '--board', this.board);
  }

  /** What the board has at a path now. */
  async onBoard(path: string): Promise<string> {
    const { running } = await this.json<{ running: { commit: string; serial: number } }>(
      'agent',
      'status',
      '--board',
      this.board,
    );
    const deployments = join(this.board, 'sysroot/deploy');
    const name = readdirSync(deployments).find((one) => one === `${running.commit}.${running.serial}`);
    return readFileSync(join(deployments, name!, path), 'utf8');
  }
}

test('production is checked out, changed in a shell, committed, run by the robot, compared, and left again', async (t) => {
  const robot = new Robot(scratchFolder(t));
  t.after(() => robot.server.stop());
  await robot.begin();
  assert.equal(await robot.onBoard('etc/speed'), 'slow\n');

  const work = join(robot.folder, 'robot');
  const { commit: base } = await robot.json<{ commit: string }>('checkout', '--device', 'robot-1', work);
  assert.match(await robot.treeline('diff', 'production', 'mine'), /^Both are commit/);
  await robot.treeline(
    'enter',
    work,
    '--',
    'sh',
    '-c',
    'echo fast > /etc/speed; echo new > /usr/share/new; touch /var/x /tmp/y',
  );
  assert.equal(readFileSync(join(work, 'usr/etc/speed'), 'utf8'), 'fast\n');
  assert.ok(!existsSync(join(work, 'var')) && !existsSync(join(work, 'tmp')) && !existsSync(join(work, 'etc')));
  assert.match(await robot.fails(7, 'enter', work, '--', 'sh', '-c', 'exit 7'), /^$/);

  assert.match(await robot.treeline('diff', 'production', 'mine'), /\(not committed\) {2}2 paths: 1 added, 1 modified/);
  const mine = await robot.json<{ commit: string; ref: string; base: string }>('commit', work, '-m', 'Drive faster');
  assert.equal(mine.base, base);
  assert.match(await robot.treeline('commit', work), /^Nothing was changed/);

  const { url } = await robot.start(t, 'serve', work, '--listen', '127.0.0.1:0');
  const pointed = await robot.treeline('device', 'point', 'robot-1', '--at', url, '--ref', mine.ref, '--for', '1h');
  assert.match(pointed, /robot-1 takes dev\//);
  await robot.treeline('agent', 'run', '--once', '--board', robot.board);
  assert.equal(await robot.onBoard('etc/speed'), 'fast\n');
  assert.equal(await robot.onBoard('usr/share/new'), 'new\n');
  const devices = await robot.treeline('devices');
  assert.match(
    devices,
    new RegExp(`^robot-1 {2}good +${mine.commit.slice(0, 10)}.*pointed at ${mine.ref}.*by admin`, 'm'),
  );

  const { changes } = await robot.json<{ changes: { kind: string; path: string }[] }>('diff', 'production', 'mine');
  assert.deepEqual(
    changes.map(({ kind, path }) => `${kind} ${path}`),
    ['modified /usr/etc/speed', 'added /usr/share/new'],
  );
  assert.deepEqual(
    (await robot.json<{ changes: unknown[] }>('diff', 'device:robot-1', mine.ref)).changes,
    [],
    'the board runs what was committed',
  );
  const overlay = join(robot.folder, 'overlay.tar');
  await robot.treeline('diff', 'production', 'mine', '--export', overlay);
  const entries = execFileSync('tar', ['-tf', overlay], { encoding: 'utf8' }).trim().split('\n');
  assert.deepEqual(entries, ['./', 'usr/', 'usr/etc/', 'usr/etc/speed', 'usr/share/', 'usr/share/new']);
  const patch = await robot.treeline('diff', 'production', 'mine', '--patch');
  assert.match(patch, /^-slow\n\+fast$/m);

  await robot.treeline('device', 'back', 'robot-1');
  await robot.treeline('agent', 'run', '--once', '--board', robot.board);
  assert.equal(await robot.onBoard('etc/speed'), 'slow\n');
  assert.equal((await robot.json<{ current: string; pointer: null }>('devices', 'show', 'robot-1')).current, base);

  // What is broken is left by itself, and what a colleague has on the board can be had from his machine.
  writeFileSync(join(work, 'usr/etc/speed'), 'broken\n');
  const broken = await robot.json<{ commit: string; ref: string }>('commit', work);
  await robot.treeline('device', 'point', 'robot-1', '--at', url, '--ref', broken.ref);
  await robot.fails(1, 'agent', 'run', '--once', '--board', robot.board);
  assert.equal(await robot.onBoard('etc/speed'), 'slow\n');
  assert.match(await robot.treeline('devices'), /where it failed: came back from/);
});

test('what was changed on a board by hand is shown, and carried back', async (t) => {
  const robot = new Robot(scratchFolder(t));
  t.after(() => robot.server.stop());
  await robot.begin();
  const [name] = readdirSync(join(robot.board, 'sysroot/deploy'));
  const root = join(robot.board, 'sysroot/deploy', name!);
  writeFileSync(join(root, 'etc/speed'), 'fast\n');
  writeFileSync(join(root, 'etc/wifi.key'), 'secret', { mode: 0o600 });
  writeFileSync(join(root, 'usr/share/added'), 'added\n');
  rmSync(join(root, 'usr/share/app'));
  // The device answers when it next looks, which is while the verb waits.
  const shellDiff = async (...args: string[]): Promise<string> => {
    let told: string | null = null;
    const asked = robot.treeline('device', 'shell-diff', 'robot-1', ...args).then((output) => (told = output));
    while (told === null) {
      await robot.treeline('agent', 'run', '--once', '--board', robot.board);
      await Promise.race([asked, new Promise((resolve) => setTimeout(resolve, 600))]);
    }
    return told;
  };
  const layer = join(robot.folder, 'carried');
  const told = await shellDiff('--export', layer);
  assert.match(told, /^M \/etc\/speed/m);
  assert.match(told, /^\+ \/etc\/wifi\.key.*secret: stays there/m);
  assert.match(told, /^\+ \/usr\/share\/added/m);
  assert.match(told, /^- \/usr\/share\/app$/m);
  assert.match(told, /^ +- remove: \/usr\/share\/app$/m);
  assert.equal(readFileSync(join(layer, 'usr/etc/speed'), 'utf8'), 'fast\n');
  assert.deepEqual(readdirSync(join(layer, 'usr/etc')), ['speed']);

  const work = join(robot.folder, 'work');
  await robot.treeline('checkout', '--device', 'robot-1', work);
  assert.match(await shellDiff('--into', work), /^2 paths written and 1 removed in /m);
  const { changes } = await robot.json<{ changes: { kind: string; path: string }[] }>('commit', work, '-m', 'By hand');
  assert.deepEqual(
    changes.map(({ kind, path }) => `${kind} ${path}`),
    ['modified /usr/etc/speed', 'added /usr/share/added', 'removed /usr/share/app'],
  );
  await robot.fails(5, 'device', 'shell-diff', 'nobody');
});

test('a colleague on another machine checks out what a board runs, production or not, and pulls with stock ostree', async (t) => {
  const robot = new Robot(scratchFolder(t));
  t.after(() => robot.server.stop());
  await robot.begin();
  const work = join(robot.folder, 'robot');
  await robot.treeline('checkout', 'production', work);
  writeFileSync(join(work, 'usr/share/app'), 'print("tweaked")\n');
  const mine = await robot.json<{ commit: string; ref: string }>('commit', work, '-b', 'dev/me/tweak');
  const { url } = await robot.start(t, 'serve', mine.ref, '--listen', '127.0.0.1:0');
  await robot.treeline('device', 'point', 'robot-1', '--at', url, '--commit', mine.commit);
  await robot.treeline('agent', 'run', '--once', '--board', robot.board);

  // Nothing of the data folder is there: only the server's address and a token.
  const elsewhere = join(robot.folder, 'colleague');
  const env = {
    ...process.env,
    ...{ TREELINE_DATA: join(elsewhere, 'none'), TREELINE_WORKSPACES: join(elsewhere, 'mine') },
    TREELINE_SERVER: robot.server.url,
    TREELINE_TOKEN: readFileSync(join(robot.server.data, 'admin-token'), 'utf8').trim(),
  };
  mkdirSync(elsewhere);
  const colleague = async (...args: string[]) => {
    const child = spawn(process.execPath, [treelineBin, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const [status] = (await once(child, 'close')) as [number | null];
    assert.equal(status, 0, output);
    return output;
  };
  await colleague('checkout', 'robot/stable', join(elsewhere, 'stable'));
  assert.equal(readFileSync(join(elsewhere, 'stable/usr/share/app'), 'utf8'), 'print("hello")\n');
  await colleague('checkout', '--device', 'robot-1', join(elsewhere, 'tweaked'));
  assert.equal(readFileSync(join(elsewhere, 'tweaked/usr/share/app'), 'utf8'), 'print("tweaked")\n');
  assert.match(await colleague('diff', 'production', 'device:robot-1', '--patch'), /^\+print\("tweaked"\)$/m);

  const repo = join(robot.folder, 'stock');
  execFileSync('ostree', [`--repo=${repo}`, 'init', '--mode=archive']);
  execFileSync('ostree', [`--repo=${repo}`, 'remote', 'add', '--no-gpg-verify', 'mine', url]);
  const pull = spawn('ostree', [`--repo=${repo}`, 'pull', 'mine', mine.ref], { stdio: 'ignore' });
  assert.deepEqual(await once(pull, 'exit'), [0, null]);
  execFileSync('ostree', [`--repo=${repo}`, 'fsck'], { stdio: 'pipe' });
});
