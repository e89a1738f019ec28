import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildGraph, type Graph, parsePipeline } from '@treeline/pipeline';

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
