import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { buildGraph } from '../graph/build.ts';
import type { Graph } from '../graph/graph.ts';
import type { ComposeKeyDocument, RunKeyDocument } from '../key/document.ts';
import { jobKey } from '../key/key.ts';
import type { JobId, Tree } from '../model.ts';
import { parsePipeline } from '../schema/parse.ts';
import { plan } from './plan.ts';
import { type RunnerOffer, unmetDemands } from './platform.ts';
import type { JobProgress, Plan, PlanState, PublishProgress, ResultOutputs } from './state.ts';

function tree(name: string): Tree {
  return { contents: name, meta: 'meta' };
}

function graphOf(text: string): Graph {
  return buildGraph([parsePipeline(text, { project: 'p' })]);
}

function stateOf(graph: Graph, change: Partial<PlanState> = {}): PlanState {
  return {
    sources: new Map(graph.order.map((id) => [id, tree('source')])),
    progress: new Map(),
    publishes: new Map(),
    known: () => undefined,
    platform: { defaultArch: 'x86_64', hostImage: 'debian', emulate: [] },
    ...change,
  };
}

function progressOf(states: Record<string, JobProgress>): Map<JobId, JobProgress> {
  return new Map(Object.entries(states).map(([name, progress]) => [`p/${name}` as JobId, progress]));
}

function passed(...names: string[]): JobProgress {
  return { state: 'passed', key: 'k', outputs: Object.fromEntries(names.map((name) => [name, tree(name)])) };
}

const running: JobProgress = { state: 'running', key: 'k' };
const failed: JobProgress = { state: 'failed', message: 'exit code 1' };
const cancelled: JobProgress = { state: 'cancelled' };

/** `ready`, `blocked on b c`, `skipped because a`: a plan as one can read it. */
function words({ steps, publishes }: Plan): Record<string, string> {
  const name = (id: string | null) => (id === null ? 'cancelled' : id.slice(2));
  const text = (step: { state: string; on?: readonly string[]; because?: string | null }) => {
    if (step.on) return `${step.state} on ${step.on.map(name).join(' ')}`;
    return step.because === undefined ? step.state : `${step.state} because ${name(step.because)}`;
  };
  return Object.fromEntries([
    ...[...steps].map(([id, step]) => [name(id), text(step)]),
    ...publishes.map((publish) => [publish.step.channel, text(publish)]),
  ]);
}

const diamond = graphOf(`
jobs:
  top: { run: x, outputs: [top] }
  left: { run: x, inputs: { top: top }, outputs: [left] }
  right: { run: x, inputs: { top: top }, outputs: [right] }
  bottom: { compose: [{ tree: left }, { tree: right, at: /r }] }
  check: { run: x, needs: [bottom] }
publish:
  - { artifact: bottom, channel: edge, after: [check] }
`);

const allPassed = {
  top: passed('top'),
  left: passed('left'),
  right: passed('right'),
  bottom: passed('bottom'),
  check: passed(),
};

type Row = {
  progress?: Record<string, JobProgress>;
  publishes?: PublishProgress;
  cancelled?: true;
  words: Record<string, string>;
  outcome?: Plan['outcome'];
};

const table: Record<string, Row> = {
  'at first only what needs nothing is ready': {
    words: {
      top: 'ready',
      left: 'blocked on top',
      right: 'blocked on top',
      bottom: 'blocked on left right',
      check: 'blocked on bottom',
      edge: 'waiting on bottom check',
    },
  },
  'what runs is waited for': {
    progress: { top: running },
    words: {
      top: 'running',
      left: 'blocked on top',
      right: 'blocked on top',
      bottom: 'blocked on left right',
      check: 'blocked on bottom',
      edge: 'waiting on bottom check',
    },
  },
  'both sides of a diamond become ready together': {
    progress: { top: passed('top') },
    words: {
      top: 'passed',
      left: 'ready',
      right: 'ready',
      bottom: 'blocked on left right',
      check: 'blocked on bottom',
      edge: 'waiting on bottom check',
    },
  },
  'the bottom waits for the slower side only': {
    progress: { top: passed('top'), left: passed('left'), right: running },
    words: {
      top: 'passed',
      left: 'passed',
      right: 'running',
      bottom: 'blocked on right',
      check: 'blocked on bottom',
      edge: 'waiting on bottom check',
    },
  },
  'a failure skips at once all that depends on it, and the other side goes on': {
    progress: { top: passed('top'), left: failed },
    words: {
      top: 'passed',
      left: 'failed',
      right: 'ready',
      bottom: 'skipped because left',
      check: 'skipped because left',
      edge: 'impossible because left',
    },
  },
  'a run that failed is done only when nothing runs any more': {
    progress: { top: passed('top'), left: failed, right: running },
    words: {
      top: 'passed',
      left: 'failed',
      right: 'running',
      bottom: 'skipped because left',
      check: 'skipped because left',
      edge: 'impossible because left',
    },
  },
  'a failed run': {
    progress: { top: passed('top'), left: failed, right: passed('right') },
    words: {
      top: 'passed',
      left: 'failed',
      right: 'passed',
      bottom: 'skipped because left',
      check: 'skipped because left',
      edge: 'impossible because left',
    },
    outcome: 'failed',
  },
  'a failed test keeps what it tested from being published': {
    progress: { ...allPassed, check: failed },
    words: {
      top: 'passed',
      left: 'passed',
      right: 'passed',
      bottom: 'passed',
      check: 'failed',
      edge: 'impossible because check',
    },
    outcome: 'failed',
  },
  'when all has passed, it is published': {
    progress: allPassed,
    words: { top: 'passed', left: 'passed', right: 'passed', bottom: 'passed', check: 'passed', edge: 'ready' },
  },
  'a published run': {
    progress: allPassed,
    publishes: { state: 'published' },
    words: { top: 'passed', left: 'passed', right: 'passed', bottom: 'passed', check: 'passed', edge: 'published' },
    outcome: 'passed',
  },
  'a run whose release is old already has passed': {
    progress: allPassed,
    publishes: { state: 'superseded' },
    words: { top: 'passed', left: 'passed', right: 'passed', bottom: 'passed', check: 'passed', edge: 'superseded' },
    outcome: 'passed',
  },
  'a run that could not be published has failed': {
    progress: allPassed,
    publishes: { state: 'failed', message: 'disk full' },
    words: { top: 'passed', left: 'passed', right: 'passed', bottom: 'passed', check: 'passed', edge: 'failed' },
    outcome: 'failed',
  },
  'a cancelled job skips what depends on it': {
    progress: { top: cancelled },
    words: {
      top: 'cancelled',
      left: 'skipped because top',
      right: 'skipped because top',
      bottom: 'skipped because top',
      check: 'skipped because top',
      edge: 'impossible because top',
    },
    outcome: 'cancelled',
  },
  'a cancelled run starts nothing, and waits for what runs': {
    progress: { top: passed('top'), left: running },
    cancelled: true,
    words: {
      top: 'passed',
      left: 'running',
      right: 'cancelled',
      bottom: 'cancelled',
      check: 'cancelled',
      edge: 'impossible because cancelled',
    },
  },
  'a cancelled run': {
    progress: { top: passed('top'), left: cancelled },
    cancelled: true,
    words: {
      top: 'passed',
      left: 'cancelled',
      right: 'cancelled',
      bottom: 'cancelled',
      check: 'cancelled',
      edge: 'impossible because cancelled',
    },
    outcome: 'cancelled',
  },
  'a failure before the run was cancelled stays a failure': {
    progress: { top: failed },
    cancelled: true,
    words: {
      top: 'failed',
      left: 'skipped because top',
      right: 'skipped because top',
      bottom: 'skipped because top',
      check: 'skipped because top',
      edge: 'impossible because top',
    },
    outcome: 'failed',
  },
  'a cancelled run publishes nothing any more': {
    progress: allPassed,
    cancelled: true,
    words: {
      top: 'passed',
      left: 'passed',
      right: 'passed',
      bottom: 'passed',
      check: 'passed',
      edge: 'impossible because cancelled',
    },
    outcome: 'cancelled',
  },
  'to cancel what is over changes nothing': {
    progress: allPassed,
    publishes: { state: 'published' },
    cancelled: true,
    words: { top: 'passed', left: 'passed', right: 'passed', bottom: 'passed', check: 'passed', edge: 'published' },
    outcome: 'passed',
  },
};

for (const [behaviour, row] of Object.entries(table)) {
  test(behaviour, () => {
    const publishes = new Map(row.publishes ? [['public:edge', row.publishes]] : []);
    const state = stateOf(diamond, {
      progress: progressOf(row.progress ?? {}),
      publishes,
      cancelled: row.cancelled === true,
    });
    const result = plan(diamond, state);
    assert.deepEqual(words(result), row.words);
    assert.equal(result.outcome, row.outcome);
    assert.equal(result.done, row.outcome !== undefined);
  });
}

test('a release is the tree that the maker made', () => {
  const { publishes } = plan(diamond, stateOf(diamond, { progress: progressOf(allPassed) }));
  assert.deepEqual(publishes[0]!.state === 'ready' && publishes[0]!.tree, tree('bottom'));
});

/** Runs whatever is ready, remembering results by key, until the run is done; counts the executions. */
function execute(
  graph: Graph,
  state: PlanState,
  store: Map<string, ResultOutputs>,
): { executed: string[]; last: Plan } {
  const executed: string[] = [];
  const publishes = new Map(state.publishes);
  const known = (key: string) => store.get(key);
  for (let round = 0; round < 100; round++) {
    const next = plan(graph, { ...state, publishes, known });
    if (next.done) return { executed, last: next };
    for (const [id, step] of next.steps) {
      if (step.state !== 'ready') continue;
      executed.push(id);
      const outputs = graph.jobs.get(id)!.job.outputs.map(({ name }) => [name, tree(`${name} of ${step.key}`)]);
      store.set(step.key, Object.fromEntries(outputs));
    }
    for (const publish of next.publishes)
      if (publish.state === 'ready') publishes.set(publish.step.id, { state: 'published' });
  }
  assert.fail('the run does not end');
}

test('what was done before is reused, all of it in one plan', () => {
  const store = new Map<string, ResultOutputs>();
  assert.equal(execute(diamond, stateOf(diamond), store).executed.length, 5);
  const again = plan(diamond, stateOf(diamond, { known: (key) => store.get(key) }));
  assert.deepEqual(
    [...again.steps.values()].map((step) => step.state),
    Array(5).fill('reused'),
  );
  assert.equal(again.publishes[0]!.state, 'ready');
});

test('only what depends on a change runs again', () => {
  const store = new Map<string, ResultOutputs>();
  const state = stateOf(diamond);
  execute(diamond, state, store);
  const sources = new Map(state.sources).set('p/left', tree('other source'));
  const { executed, last } = execute(diamond, { ...state, sources }, store);
  // The check sees nothing of the bottom: it only comes after it.
  assert.deepEqual(executed, ['p/left', 'p/bottom']);
  assert.equal(last.outcome, 'passed');
});

test('a change that makes the same tree goes no further', () => {
  const store = new Map<string, ResultOutputs>();
  const state = stateOf(diamond);
  execute(diamond, state, store);
  const sources = new Map(state.sources).set('p/left', tree('only a comment'));
  const step = plan(diamond, {
    ...state,
    sources,
    known: (key) => store.get(key),
    progress: progressOf({ top: passed('top') }),
  });
  assert.equal(step.steps.get('p/left')!.state, 'ready');
  const before = plan(diamond, { ...state, known: (key) => store.get(key) }).steps.get('p/left')!;
  assert.ok(before.state === 'reused');
  const progress = progressOf({ left: { state: 'passed', key: 'new', outputs: before.outputs } });
  const after = plan(diamond, { ...state, sources, progress, known: (key) => store.get(key) });
  assert.equal(after.steps.get('p/bottom')!.state, 'reused');
});

test('a stored result that lacks an output is not reused', () => {
  const graph = graphOf('jobs: { a: { run: x, outputs: [one, toString] } }');
  const result = plan(graph, stateOf(graph, { known: () => ({ one: tree('one') }) }));
  assert.equal(result.steps.get('p/a')!.state, 'ready');
});

test('what an earlier plan reused stays reused', () => {
  const graph = graphOf('jobs: { a: { run: x } }');
  const progress = progressOf({ a: { state: 'passed', key: 'k', outputs: {}, reused: true } });
  assert.deepEqual(plan(graph, stateOf(graph, { progress })).steps.get('p/a'), {
    state: 'reused',
    key: 'k',
    outputs: {},
  });
});

test('a state that contradicts the graph is refused', () => {
  const graph = graphOf('jobs: { a: { run: x, outputs: [o] } }');
  assert.throws(() => plan(graph, stateOf(graph, { progress: progressOf({ a: passed() }) })), {
    code: 'invalid-state',
  });
  assert.throws(() => plan(graph, stateOf(graph, { sources: new Map() })), { code: 'invalid-state', message: /p\/a/ });
});

test('the key document has all that the job may depend on, and no limits', () => {
  const graph = graphOf(`
image: tools
environment: { LANG: C.UTF-8, EPOCHS: 60 }
jobs:
  tools: { image: host, run: make, paths: [], outputs: [tools] }
  train:
    runs-on: { gpu: true, memory: 2G, labels: [fast, big] }
    inputs: { data: tools }
    environment: { EPOCHS: 80 }
    network: true
    timeout: 1h
    disk: 1G
    run: train
    outputs: { model: out/model }
`);
  const { steps } = plan(
    graph,
    stateOf(graph, {
      sources: new Map([['p/train', { ...tree('source'), commit: 'c' } as Tree]]),
      progress: progressOf({ tools: passed('tools') }),
    }),
  );
  const step = steps.get('p/train')!;
  assert.ok(step.state === 'ready');
  const expected: RunKeyDocument = {
    version: 1,
    kind: 'run',
    command: 'train',
    image: { tree: tree('tools') },
    source: tree('source'),
    inputs: { data: tree('tools') },
    environment: { LANG: 'C.UTF-8', EPOCHS: '80' },
    platform: { arch: 'x86_64', gpu: true, labels: ['big', 'fast'], emulated: [] },
    network: true,
    outputs: { model: 'out/model' },
  };
  assert.deepEqual(step.document, expected);
  assert.equal(step.key, jobKey(expected));
  const fresh = plan(graph, stateOf(graph)).steps.get('p/tools')!;
  assert.ok(fresh.state === 'ready' && fresh.document.kind === 'run');
  assert.deepEqual([fresh.document.image, fresh.document.source], [{ host: 'debian' }, null]);
});

test('the key document of a composition names its layers in order', () => {
  const graph = graphOf(
    `
jobs:
  base: { run: x, outputs: [base] }
  system:
    compose: [{ tree: base, from: usr/, at: /usr }, { source: config/etc, at: /etc }, { remove: /usr/doc }]
`.replace('from: usr/', 'from: /usr/'),
  );
  const { steps } = plan(graph, stateOf(graph, { progress: progressOf({ base: passed('base') }) }));
  const step = steps.get('p/system')!;
  assert.ok(step.state === 'ready');
  const expected: ComposeKeyDocument = {
    version: 1,
    kind: 'compose',
    output: 'system',
    layers: [
      { tree: tree('base'), from: '/usr', at: '/usr' },
      { source: tree('source'), from: '/config/etc', at: '/etc' },
      { remove: '/usr/doc' },
    ],
  };
  assert.deepEqual(step.document, expected);
  assert.deepEqual(graph.jobs.get('p/system')!.job.paths, ['config/etc/**']);
});

const board = graphOf('jobs: { test: { run: x, runs-on: { arch: aarch64, gpu: true, labels: [camera] } } }');

function stepOn(emulate: string[], store: ReadonlyMap<string, ResultOutputs>) {
  const platform = { defaultArch: 'x86_64', hostImage: 'debian', emulate };
  return plan(board, stateOf(board, { platform, known: (key) => store.get(key) })).steps.get('p/test')!;
}

test('an emulated result is never reused as a real one, nor as one that emulates something else', () => {
  const sets = [[], ['aarch64'], ['gpu'], ['camera'], ['aarch64', 'gpu'], ['aarch64', 'camera', 'gpu']];
  for (const made of sets.slice(1)) {
    const step = stepOn(made, new Map());
    assert.ok(step.state === 'ready' && step.document.kind === 'run');
    assert.deepEqual(step.document.platform.emulated, made);
    const store = new Map([[step.key, {}]]);
    for (const wanted of sets)
      assert.equal(stepOn(wanted, store).state, wanted === made ? 'reused' : 'ready', `${made} for ${wanted}`);
  }
});

test('a real result is good enough where emulation would do', () => {
  const real = stepOn([], new Map());
  assert.ok(real.state === 'ready');
  const step = stepOn(['gpu'], new Map([[real.key, {}]]));
  assert.ok(step.state === 'reused' && step.key === real.key);
});

test('emulating what a job does not ask for changes nothing', () => {
  const real = stepOn([], new Map());
  const other = stepOn(['riscv64', 'x86_64'], new Map());
  assert.ok(real.state === 'ready' && other.state === 'ready' && real.key === other.key);
});

const offer: RunnerOffer = { arch: 'x86_64', gpu: false, memoryBytes: 1024 ** 3, labels: ['fast'], emulates: [] };
const any = { arch: 'x86_64', gpu: false, labels: [], emulated: [] };
for (const [behaviour, platform, change, memoryBytes, reasons] of [
  ['a plain job fits', any, {}, null, []],
  [
    'another architecture does not',
    { ...any, arch: 'aarch64' },
    {},
    null,
    ['needs arch aarch64, the runner is x86_64'],
  ],
  [
    'a missing GPU and label',
    { ...any, gpu: true, labels: ['big', 'fast'] },
    {},
    null,
    ['needs a GPU, the runner does not have it', 'needs label big, the runner does not have it'],
  ],
  ['too little memory', any, {}, 2 * 1024 ** 3, ['needs 2048 MB of memory, the runner has 1024 MB']],
  [
    'a real demand is not met by emulation',
    { ...any, gpu: true },
    { gpu: true, emulates: ['gpu'] },
    null,
    ['needs a GPU, which the runner only emulates'],
  ],
  [
    'an emulated demand is met by emulation',
    { ...any, arch: 'aarch64', emulated: ['aarch64'] },
    { emulates: ['aarch64'] },
    null,
    [],
  ],
  [
    'an emulated demand is not met for real',
    { ...any, gpu: true, emulated: ['gpu'] },
    { gpu: true },
    null,
    ['needs a GPU emulated, and the runner does not emulate it'],
  ],
] as const) {
  test(`runner: ${behaviour}`, () =>
    assert.deepEqual(unmetDemands(platform, { ...offer, ...change }, { memoryBytes }), reasons));
}

const progress = fc.constantFrom<JobProgress | undefined>(
  undefined,
  running,
  failed,
  cancelled,
  passed('top', 'left', 'right', 'bottom'),
);

test('whatever has happened, the plan keeps its promises', () => {
  fc.assert(
    fc.property(fc.array(progress, { minLength: 5, maxLength: 5 }), fc.boolean(), (list, isCancelled) => {
      const known = new Map(diamond.order.flatMap((id, i) => (list[i] ? [[id, list[i]] as const] : [])));
      const result = plan(diamond, stateOf(diamond, { progress: known, cancelled: isCancelled }));
      assert.deepEqual([...result.steps.keys()], diamond.order);
      const states = [...result.steps.values()].map((step) => step.state);
      for (const [id, step] of result.steps) {
        const on = diamond.jobs.get(id)!.dependencies.map((dependency) => result.steps.get(dependency.on)!.state);
        if (step.state === 'ready')
          assert.ok(!isCancelled && on.every((state) => state === 'passed' || state === 'reused'));
        if (step.state === 'skipped') assert.match(result.steps.get(step.because)!.state, /failed|cancelled/);
        if (step.state === 'blocked') assert.ok(step.on.length > 0);
      }
      const busy = states.some((state) => state === 'ready' || state === 'running' || state === 'blocked');
      if (busy) assert.equal(result.done, false);
      // A run never hangs: if it is not done, something can be done or is being done.
      if (!result.done)
        assert.ok(
          states.includes('ready') ||
            states.includes('running') ||
            result.publishes.some(({ state }) => state === 'ready'),
        );
    }),
  );
});

test('what comes with Treeline is there before any job, and its tree is in keys', () => {
  const graph = graphOf(
    'jobs: { system: { compose: [{ tree: treeline/boot, from: /grub }] }, base: { run: x, paths: [], inputs: { t: treeline/tools } } }',
  );
  assert.deepEqual(graph.jobs.get('p/system')!.dependencies, []);
  const builtIns = (version: string) => new Map(['boot', 'tools'].map((name) => [name, tree(`${name} ${version}`)]));
  const keys = (version: string) =>
    [...plan(graph, stateOf(graph, { builtIns: builtIns(version) })).steps.values()].map((step) => {
      assert.ok(step.state === 'ready');
      return step.key;
    });
  assert.deepEqual(keys('1'), keys('1'));
  for (const [index, key] of keys('2').entries()) assert.notEqual(key, keys('1')[index]);
  assert.throws(() => plan(graph, stateOf(graph)), { code: 'invalid-state', message: /treeline\/(boot|tools)/ });
});
