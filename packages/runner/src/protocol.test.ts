import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CompleteRequest, HeartbeatRequest, JobSpec, LeaseRequest, LeaseResponse } from './protocol.ts';
import { testJob } from './testing/server.ts';

const tree = { contents: 'a'.repeat(64), meta: 'b'.repeat(64) };

test('a job as the contract has it is understood', () => {
  const job = testJob({
    image: { tree },
    source: tree,
    inputs: [{ name: 'app', tree }],
    outputs: [{ name: 'model', path: 'out/model' }],
  });
  assert.deepEqual(JobSpec.parse(job), job);
});

test('a name that would lead out of /in or /out is refused', () => {
  for (const name of ['..', '.', '', 'a/b', '/etc', '-rf', 'a\0b', 'a b']) {
    assert.equal(JobSpec.safeParse(testJob({ inputs: [{ name, tree }] })).success, false, JSON.stringify(name));
  }
  for (const path of ['..', '../x', 'a/../../b', '/etc', '', 'a\0']) {
    assert.equal(JobSpec.safeParse(testJob({ outputs: [{ name: 'x', path }] })).success, false, JSON.stringify(path));
  }
  for (const name of ['LD_PRELOAD=x', 'A B', '', '1A']) {
    assert.equal(JobSpec.safeParse(testJob({ environment: { [name]: '' } })).success, false, name);
  }
});

test('a tree is two checksums, so that its name is safe to use in a path', () => {
  for (const contents of ['../x', 'A'.repeat(64), 'a'.repeat(63), 'a'.repeat(65)]) {
    assert.equal(JobSpec.safeParse(testJob({ source: { ...tree, contents } })).success, false);
  }
});

test('whatever JSON comes, the schemas answer and do not throw', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      for (const schema of [LeaseRequest, LeaseResponse, HeartbeatRequest, CompleteRequest, JobSpec]) {
        schema.safeParse(value);
      }
    }),
  );
});
