import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  BUILT_INS,
  buildGraph,
  type Graph,
  type JobProgress,
  matchPaths,
  parsePipeline,
  plan,
  type ResultOutputs,
  type Tree,
} from '@treeline/pipeline';

// The example's repositories and the changes that its README offers, without running a job. The quickstart runs the first
// four; the tests of boards run all of it.

const example = fileURLToPath(new URL('../examples/road-follower/', import.meta.url));
const PROJECTS = ['images', 'app', 'model', 'system', 'machine'];
let folder: string;

function git(project: string, ...args: string[]): string {
  const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@example.org', '-c', 'init.defaultBranch=main'];
  return execFileSync('git', ['-C', join(folder, project), ...identity, ...args], { encoding: 'utf8' }).trim();
}

/** Makes a change as a developer does, and commits it; returns the subject. */
function change(script: string, project: string): string {
  const path = join(example, 'changes', `${script}.sh`);
  const said = execFileSync('sh', [path, join(folder, project)], { encoding: 'utf8' });
  const subject = said.trim().split('\n').at(-1)!;
  git(project, 'add', '--all');
  git(project, 'commit', '--quiet', '--message', subject);
  return subject;
}

function graph(): Graph {
  const text = (project: string) => readFileSync(join(folder, project, 'treeline.yaml'), 'utf8');
  return buildGraph(PROJECTS.map((project) => parsePipeline(text(project), { project })));
}

function layersOf(system: string): string[] {
  const { job } = graph().jobs.get(`machine/${system}`)!;
  assert.ok(job.kind === 'compose');
  return job.layers.map((layer) => {
    if (layer.kind === 'tree') return `${layer.artifact.project}/${layer.artifact.artifact}`;
    return layer.kind === 'source' ? layer.folder : layer.path;
  });
}

/** A tree that is other for each other name, as checksums are. */
function treeOf(name: string): Tree {
  return { contents: createHash('sha256').update(name).digest('hex'), meta: 'meta' };
}

/** What of a project's files a job sees, as git has them. */
function sourceOf(project: string, paths: readonly string[]): Tree {
  const matches = matchPaths(paths);
  const files = git(project, 'ls-files', '--stage').split('\n');
  return treeOf(files.filter((line) => matches(line.split('\t')[1]!)).join('\n'));
}

/**
 * Plans the checkouts as they are until nothing is left to be done; each job that has to run makes what its key says.
 *
 * @param results what jobs made before, by key; gains what they make now
 * @returns the jobs that ran
 */
function run(results: Map<string, ResultOutputs>): string[] {
  const whole = graph();
  const jobs = [...whole.jobs.values()].map(({ job }) => job);
  const progress = new Map<(typeof jobs)[number]['id'], JobProgress>();
  for (;;) {
    const { steps } = plan(whole, {
      sources: new Map(jobs.map((job) => [job.id, sourceOf(job.project, job.paths ?? ['**'])])),
      progress,
      publishes: new Map(),
      known: (key) => results.get(key),
      builtIns: new Map(Object.keys(BUILT_INS).map((name) => [name, treeOf(name)])),
      platform: { defaultArch: 'x86_64', hostImage: 'debian', emulate: ['gpu', 'aarch64'] },
    });
    const ready = jobs.flatMap((job) => {
      const step = steps.get(job.id)!;
      return step.state === 'ready' ? [{ job, key: step.key }] : [];
    });
    if (ready.length === 0) {
      const states = new Set([...steps.values()].map(({ state }) => state));
      assert.deepEqual(
        [...states].filter((state) => state !== 'passed' && state !== 'reused'),
        [],
      );
      return [...progress.keys()].sort((a, b) => a.localeCompare(b));
    }
    for (const { job, key } of ready) {
      const names = [...whole.artifacts].flatMap(([artifact, by]) => (by === job.id ? [artifact.split('/')[1]!] : []));
      const outputs = Object.fromEntries(names.map((name) => [name, treeOf(`${key} ${name}`)]));
      results.set(key, outputs);
      progress.set(job.id, { state: 'passed', key, outputs });
    }
  }
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'treeline-example-'));
  for (const project of PROJECTS) {
    cpSync(join(example, project), join(folder, project), { recursive: true });
    git(project, 'init', '--quiet');
    git(project, 'add', '--all');
    git(project, 'commit', '--quiet', '--message', `The robot's ${project}`);
  }
});
after(() => rmSync(folder, { recursive: true, force: true }));

test("the example's pipelines fit together, and both systems are the same robot", () => {
  const { jobs, publishes } = graph();
  assert.deepEqual(
    publishes.map(({ channel }) => channel).sort((a, b) => a.localeCompare(b)),
    ['robot/edge', 'robot/stable'],
  );
  const debian = jobs.get('machine/debian')!.job;
  assert.ok(debian.kind === 'run' && debian.root);
  assert.deepEqual(layersOf('system'), ['machine/debian', 'treeline/boot', 'treeline/agent', 'system/robot', 'config']);
  assert.ok(jobs.get('system/system')!.dependencies.some(({ on }) => on === 'system/robot'));
});

test('each change can be made, is a good pipeline, and can be taken back', () => {
  for (const [script, project] of [
    ['app-change', 'app'],
    ['bad-model', 'model'],
    ['failing-check', 'system'],
    ['faster', 'system'],
    ['broken-initramfs', 'machine'],
    ['broken-init', 'machine'],
    ['try-on-board', 'machine'],
  ] as const) {
    const before = git(project, 'rev-parse', 'HEAD^{tree}');
    const subject = change(script, project);
    assert.notEqual(git(project, 'rev-parse', 'HEAD^{tree}'), before, script);
    graph();
    assert.equal(change('take-back', project), `Take back: ${subject}`);
    assert.equal(git(project, 'rev-parse', 'HEAD^{tree}'), before, script);
  }
});

test('the broken releases differ in what keeps them from booting, and in nothing else', () => {
  change('broken-initramfs', 'machine');
  assert.deepEqual(layersOf('system').slice(0, 3), ['machine/debian', 'machine/garbage', 'treeline/boot']);
  change('take-back', 'machine');
  change('broken-init', 'machine');
  assert.deepEqual(layersOf('system').slice(1, 4), ['treeline/boot', 'init', 'treeline/agent']);
  assert.equal(git('machine', 'ls-files', '--stage', 'init/systemd').slice(0, 6), '100755');
  change('take-back', 'machine');
  change('failing-check', 'system');
  assert.equal(git('system', 'ls-files', '--stage', 'health/required.d/30-second-camera').slice(0, 6), '100755');
  change('take-back', 'system');
});

test('with try-on-board, a release of the machine waits for a board that goes forward and back', () => {
  change('try-on-board', 'machine');
  const { jobs, publishes } = graph();
  const { job } = jobs.get('machine/try')!;
  assert.ok(job.kind === 'board');
  assert.deepEqual(job.board, { name: 'qemu-x86_64' });
  assert.equal(`${job.system.project}/${job.system.artifact}`, 'machine/system');
  assert.deepEqual(job.over, { repository: 'public', channel: 'robot/stable' });
  const release = publishes.find(({ channel }) => channel === 'robot/stable');
  assert.deepEqual(release?.after, ['machine/system', 'machine/try']);
  change('take-back', 'machine');
});

test('each change runs only what depends on it, and Debian is never installed again', () => {
  const results = new Map<string, ResultOutputs>();
  assert.ok(run(results).includes('machine/debian'));
  assert.deepEqual(run(results), []);
  const tests = ['system/test', 'system/test-on-arm'];
  const systems = ['machine/system', 'system/robot', 'system/system', ...tests];
  for (const [script, project, expected] of [
    ['faster', 'system', systems],
    ['failing-check', 'system', systems],
    ['bad-model', 'model', [...systems, 'model/gate', 'model/train']],
    ['broken-initramfs', 'machine', ['machine/garbage', 'machine/system']],
    ['broken-init', 'machine', ['machine/system']],
    ['try-on-board', 'machine', ['machine/try']],
  ] as const) {
    change(script, project);
    assert.deepEqual(
      run(results),
      [...expected].sort((a, b) => a.localeCompare(b)),
      script,
    );
    change('take-back', project);
    assert.deepEqual(run(results), [], `${script}, taken back`);
  }
});
