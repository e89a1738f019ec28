// What people get wrong, and what jobs must not get away with: each is told what is wrong, where, and what to do, by
// the command that they typed; nothing is half-published, and the next good push is released.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { scratchFolder } from './testing/scratch.ts';
import { TreelineServer, treeline } from './testing/treeline-server.ts';

const CHANNEL = 'robot/edge';
/** No job may leave a file of this name anywhere but in its own folders. */
const EVIL = `treeline-evil-${process.pid}`;

/** The good part of every pipeline here: what is released. */
const SYSTEM = `  system:
    paths: [version]
    run: |
      mkdir -p "$OUT/system/usr/share"
      cp version "$OUT/system/usr/share/version"
    outputs: { system: system }
`;
const ARM = 'jobs: { test: { run: "true" } }\n';
const GOOD = `jobs:
${SYSTEM}publish:
  - { artifact: system, channel: ${CHANNEL} }
`;

let server: TreelineServer;
let folder: string;
let robot: GitRepository;
let arm: GitRepository;

/** A repository with a clone to push from. */
class GitRepository {
  readonly url: string;
  readonly #clone: string;

  constructor(name: string) {
    this.url = join(folder, `${name}.git`);
    this.#clone = join(folder, name);
    git('init', '--quiet', '--bare', '--initial-branch=main', this.url);
    git('init', '--quiet', '--initial-branch=main', this.#clone);
  }

  /** null removes a file. */
  push(files: Record<string, string | null>): void {
    for (const [name, text] of Object.entries(files)) {
      if (text === null) rmSync(join(this.#clone, name));
      else writeFileSync(join(this.#clone, name), text);
    }
    git('-C', this.#clone, 'add', '--all');
    git('-C', this.#clone, 'commit', '--quiet', '--allow-empty', '-m', `change ${Object.keys(files).join(', ')}`);
    git('-C', this.#clone, 'push', '--quiet', this.url, 'HEAD:main');
  }
}

function git(...args: string[]): void {
  execFileSync('git', ['-c', 'user.name=Test', '-c', 'user.email=test@example.org', ...args], { stdio: 'pipe' });
}

/** A verb as a person types it. */
function type(...args: string[]): Promise<{ status: number | null; output: string }> {
  return treeline([...args, '--data', server.data]);
}

/** Runs the newest revision and returns what the one who waits for it reads. */
async function run(project = 'robot'): Promise<{ status: number | null; output: string; number: string }> {
  const { status, output } = await type('run', project, '--wait');
  const number = /^Run (\d+)/m.exec(output)?.[1];
  assert.ok(number, output);
  return { status, output, number };
}

/** Changes the other project, and has the server know before the next run. */
async function pushArm(yaml: string | null): Promise<void> {
  arm.push({ 'treeline.yaml': yaml });
  const { status, output } = await type('run', 'arm');
  assert.equal(status, 0, output);
}

type Release = { number: number; state: string; commit: string };

/** Everything that anybody outside can see of what is published. */
async function published(): Promise<{ releases: Release[]; refs: string; heads: string }> {
  const repo = `--repo=${join(server.data, 'repos/public')}`;
  const { releases } = await server.get<{ releases: Release[] }>('/releases');
  const refs = execFileSync('ostree', [repo, 'refs', '--list'], { encoding: 'utf8' });
  const heads = execFileSync('ostree', [repo, 'rev-parse', CHANNEL], { encoding: 'utf8' });
  return { releases: releases.map(({ number, state, commit }) => ({ number, state, commit })), refs, heads };
}

/** Waits until the version can be pulled and the server has written down that it can. */
async function releaseOf(version: string): Promise<void> {
  const repo = `--repo=${join(server.data, 'repos/public')}`;
  for (let tries = 0; tries < 300; tries++) {
    try {
      const cat = ['cat', CHANNEL, '/usr/share/version'];
      const pulled = execFileSync('ostree', [repo, ...cat], { encoding: 'utf8', stdio: 'pipe' });
      if (pulled === version && (await published()).releases.every(({ state }) => state === 'published')) return;
    } catch {
      // not released yet
    }
    await sleep(100);
  }
  assert.fail(`${version} was not released:\n${(await type('status')).output}\n${server.log.slice(-2000)}`);
}

function isFound(name: string, below: string): boolean {
  return execFileSync('find', [below, '-xdev', '-name', name], { encoding: 'utf8' }) !== '';
}

before(async (t) => {
  folder = scratchFolder(t as never);
  server = new TreelineServer(join(folder, 'data'));
  robot = new GitRepository('robot');
  robot.push({ 'treeline.yaml': GOOD, version: 'first\n' });
  arm = new GitRepository('arm');
  arm.push({ 'treeline.yaml': ARM });
  await server.start();
  for (const { url } of [robot, arm]) {
    const { status, output } = await type('project', 'add', url);
    assert.equal(status, 0, output);
  }
  await releaseOf('first\n');
});

after(() => server.kill());

const wrongFiles: { name: string; robot?: string; arm?: string | null; says: string[] }[] = [
  {
    name: 'a treeline.yaml that is no YAML',
    robot: 'jobs:\n  build:\n    run: [make\n  test:\n    run: make test\n',
    says: ['robot/treeline.yaml:'],
  },
  {
    name: 'an unknown key',
    robot: `${GOOD.replace('paths:', 'pathes:')}`,
    says: ['robot/treeline.yaml:3:5: ', '"pathes"', 'did you mean "paths"?'],
  },
  {
    name: 'a value of the wrong kind',
    robot: `${GOOD.replace('paths: [version]', 'timeout: 5 min')}`,
    says: ['robot/treeline.yaml:3:14: ', 'timeout must be a duration, not "5 min"', 'write 5m'],
  },
  {
    name: 'a missing artifact',
    robot: `${GOOD.replace('artifact: system', 'artifact: sistem')}`,
    says: ['robot/treeline.yaml:', '"sistem"', 'did you mean "system"?'],
  },
  {
    name: 'a missing artifact of another project',
    robot: `${GOOD.replace('paths: [version]', 'inputs: { model: leg/model }')}`,
    says: ['robot/treeline.yaml:3:', 'there is no project "leg"', 'treeline project add'],
  },
  {
    name: 'a cycle over two projects',
    robot: `${GOOD.replace('paths: [version]', 'inputs: { arm: arm/arm }')}`,
    arm: 'jobs:\n  arm:\n    inputs: { system: robot/system }\n    run: "true"\n    outputs: [arm]\n',
    says: [
      'treeline.yaml:3:',
      'jobs wait for each other in a circle: arm/arm -> robot/system',
      'take out one of these',
    ],
  },
  {
    name: 'an empty treeline.yaml',
    robot: GOOD,
    arm: '',
    says: ['arm/treeline.yaml:1:1: ', 'the file is empty', 'a smallest pipeline is'],
  },
  {
    name: 'no treeline.yaml',
    arm: null,
    says: ['arm/treeline.yaml:1:1: ', 'has no treeline.yaml', 'Add a treeline.yaml'],
  },
];

for (const wrong of wrongFiles) {
  test(`${wrong.name} is told at its place`, async () => {
    const before = await published();
    if (wrong.arm !== undefined) await pushArm(wrong.arm);
    if (wrong.robot !== undefined) robot.push({ 'treeline.yaml': wrong.robot });
    const { status, output, number } = await run();
    assert.equal(status, 1, output);
    const shown = await type('status', number);
    assert.equal(shown.status, 0);
    for (const text of [output, shown.output]) {
      for (const part of wrong.says) assert.ok(text.includes(part), `${part} is not in:\n${text}`);
    }
    assert.deepEqual(await published(), before);
    if (wrong.arm !== undefined) await pushArm(ARM);
  });
}

/** Jobs that fail, each for its own reason. `says`: in the failure; `prints`: in its log. */
function failingJobs(): Record<string, { yaml: string; says: RegExp; prints?: RegExp }> {
  const { data } = server;
  const { port } = new URL(server.url);
  const { pid } = JSON.parse(readFileSync(join(data, 'server.json'), 'utf8')) as { pid: number };
  const script = (...lines: string[]) => `run: |\n${lines.map((line) => `      ${line}`).join('\n')}`;
  const readOnly = /Read-only file system/;
  const status = /the job's script ended with exit status [12]/;
  const told = /the job's script ended with exit status [12]: a job can write to \/src, \/out and \/tmp only/;
  return {
    exits: {
      yaml: script('echo "measuring the wheels"', 'echo "wheel 3 is missing" >&2', 'exit 1'),
      says: /the job's script ended with exit status 1/,
      prints: /^measuring the wheels\nwheel 3 is missing\n/,
    },
    slow: {
      yaml: `timeout: 5s\n    ${script('echo begun', 'sleep 600')}`,
      says: /the job ran longer than its limit of 5 s; "timeout:" in treeline.yaml raises it/,
      prints: /^begun\n/,
    },
    'one-large-file': {
      yaml: `disk: 20M\n    ${script('head -c 1000M /dev/zero > "$OUT/large"')}`,
      says: /the job wrote more than its limit of 20M .*"disk:" in treeline.yaml raises it/,
    },
    'many-small-files': {
      yaml: `disk: 20M\n    ${script('n=0', 'while :; do echo x > "$OUT/$n"; n=$((n+1)); done')}`,
      says: /the job wrote more than its limit of 20M .*"disk:" in treeline.yaml raises it/,
    },
    'many-empty-files': {
      yaml: `disk: 20M\n    ${script('n=0', 'while :; do : > "$OUT/$n"; n=$((n+1)); done')}`,
      says: /the job wrote more than its limit of 20M .*"disk:" in treeline.yaml raises it/,
    },
    forgetful: {
      yaml: `${script('mkdir "$OUT/modle"')}\n    outputs: { model: model }`,
      says: /output "model" is missing: the job passed, but made no \/out\/model; \/out holds modle\//,
    },
    'output-is-a-link': {
      yaml: `${script(`ln -s ${data}/store "$OUT/stolen"`)}\n    outputs: [stolen]`,
      says: /output "stolen": \/out\/stolen is a symlink; an output is a folder/,
    },
    'output-through-a-link': {
      yaml: `${script(`ln -s ${data} "$OUT/link"`)}\n    outputs: { store: link/store }`,
      says: /output "store": on the way to \/out\/link\/store is a file or a symlink, which is not followed/,
    },
    'to-usr': { yaml: script(`echo evil > /usr/share/${EVIL}`), says: told, prints: readOnly },
    'to-an-input': {
      yaml: `inputs: { system: system }\n    ${script('echo evil > /in/system/usr/share/version')}`,
      says: told,
      prints: readOnly,
    },
    'beside-an-input': {
      yaml: `inputs: { system: system }\n    ${script(`echo evil > /in/system/${EVIL}`)}`,
      says: told,
      prints: readOnly,
    },
    'through-a-link-in-an-input': {
      yaml: `inputs: { trap: trap }\n    ${script(`echo evil > /in/trap/usr/${EVIL}`)}`,
      says: told,
      prints: readOnly,
    },
    'to-the-store-through-an-input': {
      yaml: `inputs: { trap: trap }\n    ${script(`echo evil > /in/trap/store/refs/heads/${EVIL}`)}`,
      says: status,
      prints: /nonexistent|No such file/,
    },
    'through-a-link-in-out': {
      yaml: script('ln -s /usr/share "$OUT/usr"', `echo evil > "$OUT/usr/${EVIL}"`),
      says: told,
      prints: readOnly,
    },
    'to-the-store': {
      yaml: script(`echo evil > ${data}/store/refs/heads/${EVIL}`),
      says: status,
      prints: /nonexistent|No such file/,
    },
    'to-the-database': {
      yaml: script(`echo evil >> ${data}/treeline.db`),
      says: status,
      prints: /nonexistent|No such file/,
    },
    'reads-the-token': { yaml: script(`cat ${data}/admin-token`), says: status, prints: /No such file/ },
    'reads-the-token-through-proc': {
      yaml: script(`cat /proc/1/root${data}/admin-token /proc/${pid}/root${data}/admin-token`),
      says: status,
      prints: /No such file/,
    },
    'reads-the-tokens-of-others': {
      yaml: script("cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep TREELINE"),
      says: status,
    },
    'kills-the-server': { yaml: script(`kill -9 ${pid}`), says: status, prints: /No such process/ },
    'calls-the-server': {
      yaml: script(`bash -c 'exec 3<>/dev/tcp/127.0.0.1/${port}'`),
      says: status,
      prints: /Connection refused/,
    },
    'calls-the-world': {
      yaml: script("bash -c 'exec 3<>/dev/tcp/192.0.2.1/80'"),
      says: /the job's script ended with exit status 1: a job has no network unless it asks: "network: true"/,
      prints: /Network is unreachable/,
    },
  };
}

test('a job that fails says why, stops its release and no other, and leaves nothing behind', async () => {
  const failing = failingJobs();
  const trap = `  trap:
    run: |
      mkdir "$OUT/trap"
      ln -s /usr/share "$OUT/trap/usr"
      ln -s ${server.data}/store "$OUT/trap/store"
    outputs: [trap]
`;
  const names = Object.keys(failing);
  const yaml = [
    'jobs:\n',
    SYSTEM,
    trap,
    ...names.map((name) => `  ${name}:\n    ${failing[name]!.yaml}\n`),
    'publish:\n',
    ...names.map((name) => `  - { artifact: system, channel: robot/${name}, after: [${name}] }\n`),
  ].join('');
  const before = await published();
  robot.push({ 'treeline.yaml': yaml, version: 'second\n' });
  const { status, output, number } = await run();
  assert.equal(status, 1, output);

  type Job = { id: string; state: string; failure: { message: string } | null; executionId: string };
  const { jobs } = await server.get<{ jobs: Job[] }>(`/runs/run-${number}`);
  const shown = await type('status', number);
  assert.equal(shown.status, 0);
  for (const [name, { says, prints }] of Object.entries(failing)) {
    const job = jobs.find(({ id }) => id === `robot/${name}`)!;
    assert.equal(job.state, 'failed', `${name}:\n${output}`);
    for (const text of [output, shown.output]) {
      const line = text.split('\n').find((one) => one.includes(`robot/${name} `) && one.includes('failed'));
      assert.match(line ?? text, says, name);
    }
    if (!prints) continue;
    const log = await (await fetchLog(job.executionId)).text();
    assert.match(log, prints, name);
    for (const printed of log.trim().split('\n'))
      assert.ok(output.includes(printed), `${printed} is not in:\n${output}`);
  }
  for (const { id, state } of jobs) {
    if (['robot/system', 'robot/trap'].includes(id)) assert.equal(state, 'passed', id);
  }

  const logs = await type('logs', 'exits', '--run', number);
  assert.equal(logs.status, 0);
  assert.match(logs.output, /^measuring the wheels\nwheel 3 is missing\ntreeline: .*exit status 1\n$/);
  assert.equal((await type('logs', 'robot/none', '--run', number)).status, 5);

  assert.deepEqual(await published(), before);
  assert.equal(existsSync(`/usr/share/${EVIL}`), false);
  assert.equal(isFound(EVIL, folder), false);
  const token = readFileSync(join(server.data, 'admin-token'), 'utf8').trim();
  assert.equal(output.includes(token), false);
  assert.deepEqual(
    readdirSync(join(server.data, 'runner')).filter((name) => name.startsWith('job')),
    ['jobs'],
  );
});

function fetchLog(execution: string): Promise<Response> {
  const token = readFileSync(join(server.data, 'admin-token'), 'utf8').trim();
  return fetch(`${server.url}/api/v1/executions/${execution}/log`, { headers: { authorization: `Bearer ${token}` } });
}

const wrongRepositories: { name: string; args: () => string[]; exit: number; says: RegExp[] }[] = [
  {
    name: 'a path without a repository',
    args: () => [join(folder, 'nowhere.git')],
    exit: 5,
    says: [/no repository at .*nowhere\.git/, /path of a git repository/],
  },
  {
    name: 'a URL without a repository',
    args: () => [`file://${folder}/nowhere.git`],
    exit: 2,
    says: [/nowhere\.git/, /Check the URL/],
  },
  {
    name: 'a server that does not answer',
    args: () => ['http://127.0.0.1:9/x.git'],
    exit: 2,
    says: [/127\.0\.0\.1/],
  },
  {
    name: 'a folder that is no repository',
    args: () => [join(folder, 'empty')],
    exit: 2,
    says: [/empty/, /Check the URL/],
  },
  {
    name: 'a branch that does not exist',
    args: () => [robot.url, '--name', 'x', '--branch', 'mian'],
    exit: 2,
    says: [/has no branch "mian"/, /It has: main/],
  },
  {
    name: 'a remote helper, which would run a command',
    args: () => [`ext::sh -c touch% ${join(folder, EVIL)}`, '--name', 'x'],
    exit: 2,
    says: [/names a remote helper/, /Use a path, or a file:\/\//],
  },
  {
    name: 'a remote helper behind a scheme',
    args: () => [`ext://sh -c touch% ${join(folder, EVIL)}`, '--name', 'x'],
    exit: 2,
    says: [/unknown scheme "ext"/, /Use a path, or a file:\/\//],
  },
  {
    name: 'a branch that is an option',
    args: () => [robot.url, '--name', 'x', `--branch=--upload-pack=touch ${join(folder, EVIL)}`],
    exit: 2,
    says: [/is no name of a branch/],
  },
  {
    name: 'a URL with a password',
    args: () => ['https://me:secret@example.org/x.git'],
    exit: 2,
    says: [/user name or password/, /credential helper/],
  },
];

test('a repository that cannot be followed is refused, and none is added', async () => {
  mkdirSync(join(folder, 'empty'));
  for (const { name, args, exit, says } of wrongRepositories) {
    const { status, output } = await type('project', 'add', ...args());
    assert.equal(status, exit, `${name}:\n${output}`);
    for (const said of says) assert.match(output, said, name);
  }
  const { projects } = await server.get<{ projects: { name: string }[] }>('/projects');
  assert.deepEqual(projects.map(({ name }) => name).sort(), ['arm', 'robot']);
  assert.equal(isFound(EVIL, folder), false);
  assert.deepEqual(readdirSync(join(server.data, 'sources')).sort(), ['arm.git', 'robot.git']);
});

test('a repository that goes away is told, and its project goes on when it is back', async () => {
  const away = `${arm.url}.away`;
  execFileSync('mv', [arm.url, away]);
  const gone = await type('run', 'arm', '--wait');
  assert.equal(gone.status, 2, gone.output);
  assert.match(gone.output, /arm\.git/);
  execFileSync('mv', [away, arm.url]);
});

test('after all that a good push is released, and nothing is wrong in store and published repository', async () => {
  robot.push({ 'treeline.yaml': GOOD, version: 'last\n' });
  const { status, output } = await run();
  assert.equal(status, 0, output);
  await releaseOf('last\n');
  const { refs } = await published();
  assert.equal(refs, `${CHANNEL}\n`);
  await server.stop();
  for (const repo of ['store', 'repos/public']) {
    execFileSync('ostree', ['fsck', `--repo=${join(server.data, repo)}`], { stdio: 'pipe' });
  }
  assert.deepEqual(
    readdirSync(tmpdir()).filter((name) => name.includes(EVIL)),
    [],
  );
  rmSync(folder, { recursive: true, force: true });
});
