import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Diagnostic, PipelineError } from '../diagnostic/diagnostic.ts';
import type { Pipeline } from '../model.ts';
import { parsePipeline } from '../schema/parse.ts';
import { buildGraph } from './build.ts';
import { findCycles } from './cycle.ts';
import { sortTopologically } from './order.ts';

function pipelines(files: Record<string, string>): Pipeline[] {
  return Object.entries(files).map(([project, text]) => parsePipeline(text, { project }));
}

function faults(files: Record<string, string>): readonly Diagnostic[] {
  const parsed = pipelines(files);
  try {
    buildGraph(parsed);
  } catch (error) {
    assert.ok(error instanceof PipelineError);
    assert.equal(error.code, 'invalid-graph');
    return error.diagnostics;
  }
  assert.fail('the graph was accepted');
}

const robot = {
  system: `
jobs:
  system:
    compose:
      - { tree: base }
      - { tree: app/package, at: /usr }
      - { tree: model/model, at: /usr/share/model }
      - { source: config, at: /usr/etc }
  base: { image: images/tools, run: make, outputs: { base: . } }
  test-system: { image: system, run: check, needs: [system] }
publish:
  - { artifact: system, channel: robot/edge, after: [test-system, test-system] }
`,
  images: 'jobs: { tools: { run: make, outputs: [tools] } }',
  model: 'image: images/tools\njobs: { train: { inputs: { app: app/package }, run: train, outputs: [model] } }',
  app: 'image: images/tools\njobs: { package: { run: make, needs: [lint], outputs: [package] }, lint: { run: lint } }',
};

test('the order has every job after what it depends on, the same for any order of files', () => {
  const expected = [
    'images/tools',
    'app/lint',
    'app/package',
    'model/train',
    'system/base',
    'system/system',
    'system/test-system',
  ];
  const graph = buildGraph(pipelines(robot));
  assert.deepEqual(graph.order, expected);
  const reversed = Object.fromEntries(Object.entries(robot).reverse());
  assert.deepEqual(buildGraph(pipelines(reversed)), graph);
});

test('every artifact is found, and dependencies say why they are there', () => {
  const graph = buildGraph(pipelines(robot));
  assert.deepEqual(Object.fromEntries(graph.artifacts), {
    'app/package': 'app/package',
    'images/tools': 'images/tools',
    'model/model': 'model/train',
    'system/base': 'system/base',
    'system/system': 'system/system',
  });
  const { dependencies } = graph.jobs.get('model/train')!;
  assert.deepEqual(
    dependencies.map(({ on, reason, name, position }) => [on, reason, name, position.line, position.column]),
    [
      ['images/tools', 'image', 'tools', 1, 8],
      ['app/package', 'input', 'app', 2, 33],
    ],
  );
  const reasons = graph.jobs.get('system/test-system')!.dependencies.map(({ on, reason }) => `${reason} ${on}`);
  assert.deepEqual(reasons, ['image system/system', 'needs system/system']);
});

test('a publish step waits for the maker and for what it is after, each once', () => {
  const [step, ...others] = buildGraph(pipelines(robot)).publishes;
  assert.equal(others.length, 0);
  assert.equal(step!.id, 'public:robot/edge');
  assert.equal(step!.maker, 'system/system');
  assert.deepEqual(step!.after, ['system/system', 'system/test-system']);
});

for (const [name, input, message, hint] of [
  ['an unknown project', 'ap/package', /there is no project "ap"/, /did you mean "app\/package"/],
  ['an unlike project', 'nothing/package', /there is no project "nothing"/, /app, images, model/],
  [
    'an unknown artifact',
    'app/pakcage',
    /no job of project "app" makes an artifact "pakcage"/,
    /did you mean "app\/package"/,
  ],
  ['an artifact of another project', 'app/tools', /no job of project "app"/, /did you mean "images\/tools"/],
  ['an unlike artifact', 'app/wheel', /no job of project "app"/, /artifacts of "app": package/],
] as const) {
  test(`${name} is told at its place, with a suggestion`, () => {
    const [fault, ...others] = faults({ ...robot, system: `jobs:\n  a:\n    inputs: { x: ${input} }\n    run: x\n` });
    assert.equal(others.length, 0);
    assert.match(fault!.message, message);
    assert.match(fault!.hint!, hint);
    assert.deepEqual([fault!.project, fault!.line, fault!.column], ['system', 3, 18]);
  });
}

test('a cycle over projects is shown whole, at the place of one of its references', () => {
  const found = faults({
    a: 'jobs:\n  x:\n    inputs: { in: b/y }\n    run: x\n    outputs: [x]\n',
    b: 'jobs:\n  y:\n    image: c/z\n    run: x\n    outputs: [y]\n',
    c: 'jobs:\n  z:\n    run: x\n    needs: [w]\n    outputs: [z]\n  w:\n    inputs: { in: a/x }\n    run: x\n',
    d: 'jobs: { late: { inputs: { in: a/x }, run: x } }',
  });
  assert.deepEqual(found, [
    {
      project: 'a',
      file: 'treeline.yaml',
      line: 3,
      column: 19,
      message:
        'jobs wait for each other in a circle: a/x -> b/y (input in) -> c/z (image y) -> c/w (needs) -> a/x (input in)'.replace(
          'image y',
          'image z',
        ),
      hint: 'take out one of these: a: treeline.yaml:3:19, b: treeline.yaml:3:12, c: treeline.yaml:4:13, c: treeline.yaml:7:19',
    },
  ]);
});

test('a job that runs in the image it makes is told to take another one', () => {
  const [fault] = faults({ images: 'image: tools\njobs: { tools: { run: make, outputs: [tools] } }' });
  assert.equal(fault!.message, 'a job waits for itself: images/tools -> images/tools (image tools)');
  assert.match(fault!.hint!, /image: host/);
});

test('all that does not fit is told at once', () => {
  const found = faults({
    a: 'jobs: { x: { run: x, inputs: { i: b/none, j: none/none }, needs: [x] } }',
    b: 'jobs: { y: { run: x, inputs: { i: a/none } } }',
  });
  assert.equal(found.length, 4);
});

test('two steps cannot publish to the same channel, nor to a folder of it', () => {
  const job = 'jobs: { x: { run: x, outputs: [x] } }\npublish:\n';
  const [same] = faults({ a: `${job}- { artifact: x, channel: edge }`, b: `${job}- { artifact: x, channel: edge }` });
  assert.match(same!.message, /"edge" of repository "public" is already published to at a: treeline.yaml:3:3/);
  assert.equal(same!.project, 'b');
  const [below] = faults({ a: `${job}- { artifact: x, channel: r }\n- { artifact: x, channel: r/edge }` });
  assert.match(below!.message, /cannot be beside/);
  const apart = `${job}- { artifact: x, channel: r }\n- { artifact: x, channel: re }\n- { artifact: x, channel: r, repository: other }`;
  assert.equal(buildGraph(pipelines({ a: apart })).publishes.length, 3);
});

test('a project that is there twice is refused', () => {
  const [pipeline] = pipelines({ a: 'jobs: { x: { run: x } }' });
  assert.throws(() => buildGraph([pipeline!, pipeline!]), { code: 'invalid-graph', message: /"a" is there twice/ });
});

test('pipelines that no file was parsed for are checked as well', () => {
  const [pipeline] = pipelines({ a: 'jobs: { x: { run: x, outputs: [x] } }\npublish: [{ artifact: x, channel: c }]' });
  const position = { line: 1, column: 1 };
  const publish = {
    ...pipeline!.publishes[0]!,
    artifact: { project: 'a', artifact: 'y', position },
    after: [{ job: 'z', position }],
  };
  const job = { ...pipeline!.jobs[0]!, needs: [{ job: 'w', position }] };
  assert.throws(
    () => buildGraph([{ ...pipeline!, jobs: [job], publishes: [publish] }]),
    (error: PipelineError) => error.diagnostics.length === 3,
  );
});

const waits = fc
  .array(fc.array(fc.nat(11), { maxLength: 3 }), { minLength: 1, maxLength: 12 })
  .map((lists) => new Map(lists.map((on, i) => [`n${i}`, on.filter((j) => j < lists.length).map((j) => `n${j}`)])));

test('what can be ordered is ordered; the rest has a cycle for each knot', () => {
  fc.assert(
    fc.property(waits, (graph) => {
      const { order, rest } = sortTopologically(graph);
      assert.equal(order.length + rest.size, graph.size);
      for (const [i, id] of order.entries()) {
        for (const on of graph.get(id)!) assert.ok(order.indexOf(on) < i && order.includes(on));
      }
      const cycles = findCycles(graph, rest);
      assert.equal(cycles.length === 0, rest.size === 0);
      for (const cycle of cycles) {
        assert.equal(new Set(cycle).size, cycle.length);
        for (const [i, id] of cycle.entries()) assert.ok(graph.get(id)!.includes(cycle[(i + 1) % cycle.length]!));
      }
      // Without one edge of each cycle found, again and again, nothing is left: no knot was overlooked.
      const edges = new Map(graph);
      for (let round = 0; ; round++) {
        const { rest } = sortTopologically(edges);
        if (rest.size === 0) break;
        assert.ok(round < 100);
        for (const cycle of findCycles(edges, rest)) {
          const next = cycle[1 % cycle.length];
          edges.set(
            cycle[0]!,
            edges.get(cycle[0]!)!.filter((on) => on !== next),
          );
        }
      }
    }),
    { numRuns: 500 },
  );
});

test('knots that hang behind others are found too', () => {
  const graph = new Map([
    ['a', ['b']],
    ['b', ['a']],
    ['c', ['a', 'd']],
    ['d', ['a', 'c']],
    ['e', ['d']],
    ['f', ['f', 'a']],
  ]);
  assert.deepEqual(findCycles(graph, sortTopologically(graph).rest), [['a', 'b'], ['c', 'd'], ['f']]);
});

test('a chain as long as any is no danger to the stack', () => {
  const size = 50_000;
  const chain = new Map(Array.from({ length: size }, (_, i) => [`n${i}`, i === 0 ? [] : [`n${i - 1}`]]));
  assert.equal(sortTopologically(chain).order.length, size);
  chain.set('n0', [`n${size - 1}`]);
  const { rest } = sortTopologically(chain);
  assert.equal(findCycles(chain, rest)[0]!.length, size);
});
