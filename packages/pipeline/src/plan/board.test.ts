import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { buildGraph } from '../graph/build.ts';
import { explainKeys } from '../key/explain.ts';
import type { Tree } from '../model.ts';
import { parsePipeline } from '../schema/parse.ts';
import { plan } from './plan.ts';
import type { PlanState, PlanStep } from './state.ts';

const tree = (digit: string): Tree => ({ contents: digit.repeat(64), meta: '0'.repeat(64) });

const graph = buildGraph([
  parsePipeline(
    `jobs:
  system: { run: make }
  try: { board: rig, system: system, faults: [power-cut] }
publish: [{ artifact: system, channel: robot/stable, after: [try] }]
`.replace('run: make', 'run: make, paths: [], outputs: [system]'),
    { project: 'p' },
  ),
]);

function planned(o: { system?: Tree; released?: Tree; treeline?: string; known?: PlanState['known'] } = {}) {
  const result = plan(graph, {
    sources: new Map(),
    progress: new Map([['p/system', { state: 'passed', key: 'k', outputs: { system: o.system ?? tree('a') } }]]),
    publishes: new Map(),
    known: o.known ?? (() => undefined),
    platform: { defaultArch: 'x86_64', hostImage: 'h', emulate: [] },
    ...(o.released ? { released: new Map([['public:robot/stable', o.released]]) } : {}),
    treeline: o.treeline ?? '1.0.0',
  });
  return { step: result.steps.get('p/try')!, publish: result.publishes[0]! };
}

function ready(step: PlanStep) {
  assert.equal(step.state, 'ready');
  const { key, document } = step;
  assert.equal(document.kind, 'board');
  return { key, document };
}

describe('the key of a board job', () => {
  test('holds the system, what it is tried over, the faults and the version of Treeline', () => {
    const before = ready(planned({ released: tree('b') }).step);
    assert.deepEqual(before.document, {
      version: 1,
      kind: 'board',
      board: 'rig',
      source: null,
      system: tree('a'),
      over: tree('b'),
      faults: ['power-cut'],
      treeline: '1.0.0',
    });
    for (const [change, message] of [
      [{ system: tree('c'), released: tree('b') }, /system changed/],
      [{ released: tree('c') }, /release that it is tried over changed/],
      [{}, /release that it is tried over is gone/],
      [{ released: tree('b'), treeline: '1.0.1' }, /version of Treeline: 1\.0\.0 -> 1\.0\.1/],
    ] as const) {
      const after = ready(planned(change).step);
      assert.notEqual(after.key, before.key);
      assert.match(explainKeys(before.document, after.document)[0]?.message ?? '', message);
    }
  });

  test('is the same for a system that is released already as for one of which nothing is released', () => {
    assert.equal(ready(planned({ released: tree('a') }).step).key, ready(planned().step).key);
  });

  test('holds back the release until its verdict, and is reused', () => {
    const { step, publish } = planned();
    assert.equal(publish.state, 'waiting');
    const { key } = ready(step);
    const again = planned({ known: (asked) => (asked === key ? { 'try-report': tree('d') } : undefined) });
    assert.equal(again.step.state, 'reused');
    assert.equal(again.publish.state, 'ready');
  });
});
