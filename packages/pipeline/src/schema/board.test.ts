import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PipelineError } from '../diagnostic/diagnostic.ts';
import type { BoardJob } from '../model.ts';
import { parsePipeline } from './parse.ts';

const maker = 'system: { compose: [{ source: root, at: / }] }';

function parse(job: string, more = ''): BoardJob {
  const { jobs } = parsePipeline(`jobs:\n  ${maker}\n  try: ${job}\n${more}`, { project: 'p' });
  const found = jobs.find((one) => one.name === 'try');
  assert.equal(found?.kind, 'board');
  return found;
}

function faultsOf(job: string): string[] {
  try {
    parse(job);
  } catch (error) {
    if (error instanceof PipelineError)
      return error.diagnostics.map(({ message, hint }) => `${message} | ${hint ?? ''}`);
    throw error;
  }
  return [];
}

describe('a board job', () => {
  test('has a board, a system, and defaults for the rest', () => {
    const job = parse('{ board: qemu-x86_64, system: system }');
    assert.deepEqual(job.board, { name: 'qemu-x86_64' });
    assert.equal(job.system.artifact, 'system');
    assert.equal(job.over, null);
    assert.deepEqual(job.paths, []);
    assert.deepEqual(job.faults, []);
    assert.equal(job.timeoutSeconds, 1200);
    assert.deepEqual(job.outputs, [{ name: 'try-report', path: '.' }]);
  });

  test('is tried over what its artifact is published to, unless it says otherwise', () => {
    const publish = 'publish: [{ artifact: system, channel: robot/stable, repository: main, after: [try] }]\n';
    assert.deepEqual(parse('{ board: b, system: system }', publish).over, {
      repository: 'main',
      channel: 'robot/stable',
    });
    const other = parse('{ board: b, system: system, over: "public:robot/edge" }', publish);
    assert.deepEqual(other.over, { repository: 'public', channel: 'robot/edge' });
    assert.deepEqual(parse('{ board: b, system: system, over: robot/edge }').over, {
      repository: 'public',
      channel: 'robot/edge',
    });
  });

  test('may name a board file of its repository, which is then all that it sees of it', () => {
    const job = parse('{ board: ./boards/rig.yaml, system: other/system, faults: [power-cut, full-disk, power-cut] }');
    assert.deepEqual(job.board, { file: 'boards/rig.yaml' });
    assert.deepEqual(job.paths, ['boards/rig.yaml']);
    assert.deepEqual(job.faults, ['full-disk', 'power-cut']);
    assert.equal(job.system.project, 'other');
  });

  test('with a fault says what and how to mend it', () => {
    assert.match(faultsOf('{ board: b }').join(), /job "try" has no "system" \| name the artifact/);
    assert.match(
      faultsOf('{ board: b, system: system, run: ls }').join(),
      /tries a system on a board, so it cannot have "run"/,
    );
    assert.match(faultsOf('{ board: b, system: system, faults: [powercut] }').join(), /did you mean "power-cut"/);
    assert.match(faultsOf('{ board: "a b", system: system }').join(), /cannot be the name of a board/);
    assert.match(faultsOf('{ board: ../rig.yaml, system: system }').join(), /leads out of its folder/);
    assert.match(faultsOf('{ board: "boards/*.yaml", system: system }').join(), /is a pattern, not a file/);
    assert.match(faultsOf('{ board: b, system: system, over: "x:a b" }').join(), /cannot be a channel/);
    assert.match(faultsOf('{ run: ls, faults: [power-cut] }').join(), /runs, so it cannot have "faults"/);
    assert.match(faultsOf('{ board: b, system: missing }').join(), /makes an artifact "missing"/);
    assert.match(faultsOf('{ board: b, system: system, timeout: 5 }').join(), /timeout must be a duration/);
  });
});
