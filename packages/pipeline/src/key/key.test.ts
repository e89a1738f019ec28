import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Tree } from '../model.ts';
import { canonicalJson } from './canonical.ts';
import type { ComposeKeyDocument, KeyDocument, KeyLayer, RunKeyDocument } from './document.ts';
import { explainKeys } from './explain.ts';
import { jobKey } from './key.ts';

const hex = fc.stringMatching(/^[0-9a-f]{64}$/);
const tree: fc.Arbitrary<Tree> = fc.record({ contents: hex, meta: hex });
const name = fc.oneof(
  fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/),
  fc.constantFrom('__proto__', 'constructor', 'toString'),
);
/** Not fc.dictionary: that one leaves `__proto__` out. */
function records<T>(value: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> {
  return fc.array(fc.tuple(name, value), { maxLength: 5 }).map((pairs) => Object.fromEntries(pairs));
}

const runDocument: fc.Arbitrary<RunKeyDocument> = fc.record({
  version: fc.constant(1 as const),
  kind: fc.constant('run' as const),
  command: fc.string(),
  image: fc.oneof(fc.record({ tree }), fc.record({ host: hex })),
  source: fc.option(tree),
  inputs: records(tree),
  environment: records(fc.string()),
  platform: fc.record({
    arch: fc.constantFrom('x86_64', 'aarch64'),
    gpu: fc.boolean(),
    labels: fc.uniqueArray(name, { maxLength: 3 }),
    emulated: fc.uniqueArray(name, { maxLength: 3 }),
  }),
  network: fc.boolean(),
  outputs: records(fc.string()),
});
const path = fc.constantFrom('/', '/usr', '/usr/etc');
const layer: fc.Arbitrary<KeyLayer> = fc.oneof(
  fc.record({ tree, from: path, at: path }),
  fc.record({ source: tree, from: path, at: path }),
  fc.record({ remove: path }),
);
const composeDocument: fc.Arbitrary<ComposeKeyDocument> = fc.record({
  version: fc.constant(1 as const),
  kind: fc.constant('compose' as const),
  layers: fc.array(layer, { maxLength: 4 }),
  output: name,
});
const anyDocument: fc.Arbitrary<KeyDocument> = fc.oneof(runDocument, composeDocument);

const otherTree: Tree = { contents: 'e'.repeat(64), meta: 'f'.repeat(64) };
const basis: RunKeyDocument = {
  version: 1,
  kind: 'run',
  command: 'set -x\npython3 train.py',
  image: { tree: { contents: 'a'.repeat(64), meta: 'b'.repeat(64) } },
  source: { contents: '1'.repeat(64), meta: 'b'.repeat(64) },
  inputs: { app: { contents: 'abc'.padEnd(64, '0'), meta: 'b'.repeat(64) } },
  environment: { EPOCHS: '60' },
  platform: { arch: 'x86_64', gpu: false, labels: [], emulated: [] },
  network: false,
  outputs: { model: 'model' },
};

test('the key of a known document is what sha256sum says of its canonical JSON', () => {
  const document: ComposeKeyDocument = { output: 'x', layers: [{ remove: '/a' }], kind: 'compose', version: 1 };
  assert.equal(canonicalJson(document), '{"kind":"compose","layers":[{"remove":"/a"}],"output":"x","version":1}');
  assert.equal(jobKey(document), 'd14fb3ebb589384693c0b9fd4284e115ccd75aa3f94cea6fb4a1928e2f83d219');
});

test('root is part of the key, and a job that is not root has the key that it always had', () => {
  assert.equal(jobKey(basis), 'aafd1cd6bb3f45af992cf8041e24e8e47bce4bb9e767c2537b9c5cd8da15bc05');
  const asRoot: RunKeyDocument = { ...basis, root: true };
  assert.notEqual(jobKey(asRoot), jobKey(basis));
  assert.deepEqual(
    explainKeys(basis, asRoot).map(({ field, message }) => [field, message]),
    [['root', 'root: no -> yes']],
  );
});

test('canonical JSON is JSON of the same data', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)));
    }),
  );
});

for (const bad of [
  undefined,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  1n,
  new Date(0),
  new Map(),
  () => 1,
  new Array(1),
]) {
  test(`canonical JSON refuses ${String(bad)} rather than dropping it`, () => {
    assert.throws(() => canonicalJson({ a: { b: bad } }), { code: 'invalid-key', message: /^\$\.a\.b/ });
  });
}

/** The same data with the keys of every object in another order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, member]) => [key, reversed(member)]),
  );
}

test('the order of keys never matters', () => {
  fc.assert(
    fc.property(anyDocument, (document) => {
      const other = reversed(document) as KeyDocument;
      assert.equal(jobKey(other), jobKey(document));
      assert.deepEqual(explainKeys(document, other), []);
    }),
  );
});

type Change = { field: string; document: KeyDocument };

function without<T>(record: Readonly<Record<string, T>>, name: string): Record<string, T> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => key !== name));
}

function withValue<T>(record: Readonly<Record<string, T>>, name: string, value: T): Record<string, T> {
  return Object.fromEntries([...Object.entries(record).filter(([key]) => key !== name), [name, value]]);
}

function treeChanges(tree: Tree): Tree[] {
  const flip = (text: string) => (text[63] === '0' ? '1' : '0');
  return [
    { ...tree, contents: tree.contents.slice(0, 63) + flip(tree.contents) },
    { ...tree, meta: tree.meta.slice(0, 63) + flip(tree.meta) },
  ];
}

/** Every way to change one thing. */
function changesOf(document: KeyDocument): Change[] {
  if (document.kind === 'compose') {
    const { layers } = document;
    return [
      { field: 'output', document: { ...document, output: `${document.output}x` } },
      { field: `layers[${layers.length}]`, document: { ...document, layers: [...layers, { remove: '/new' }] } },
      ...(layers.length > 0
        ? [{ field: `layers[${layers.length - 1}]`, document: { ...document, layers: layers.slice(0, -1) } }]
        : []),
      ...layers.flatMap((layer, i) =>
        layerChanges(layer).map((changed) => ({
          field: `layers[${i}]`,
          document: { ...document, layers: layers.with(i, changed) },
        })),
      ),
    ];
  }
  assert.equal(document.kind, 'run');
  if (document.kind !== 'run') return [];
  const { inputs, environment, outputs, platform, image, source } = document;
  const images =
    'host' in image
      ? [{ host: `${image.host}0` }, { tree: otherTree }]
      : [{ host: 'h' }, ...treeChanges(image.tree).map((tree) => ({ tree }))];
  return [
    { field: 'command', document: { ...document, command: `${document.command}\n` } },
    ...images.map((image) => ({ field: 'image', document: { ...document, image } })),
    ...(source ? [null, ...treeChanges(source)] : [otherTree]).map((source) => ({
      field: 'source',
      document: { ...document, source },
    })),
    ...Object.entries(inputs).flatMap(([name, tree]) => [
      { field: `inputs.${name}`, document: { ...document, inputs: without(inputs, name) } },
      ...treeChanges(tree).map((changed) => ({
        field: `inputs.${name}`,
        document: { ...document, inputs: withValue(inputs, name, changed) },
      })),
    ]),
    { field: 'inputs.NEW', document: { ...document, inputs: withValue(inputs, 'NEW', otherTree) } },
    ...Object.entries(environment).flatMap(([name, value]) => [
      { field: `environment.${name}`, document: { ...document, environment: without(environment, name) } },
      {
        field: `environment.${name}`,
        document: { ...document, environment: withValue(environment, name, `${value} `) },
      },
    ]),
    { field: 'environment.NEW', document: { ...document, environment: withValue(environment, 'NEW', '') } },
    ...Object.entries(outputs).flatMap(([name, value]) => [
      { field: `outputs.${name}`, document: { ...document, outputs: without(outputs, name) } },
      { field: `outputs.${name}`, document: { ...document, outputs: withValue(outputs, name, `${value}/x`) } },
    ]),
    { field: 'outputs.NEW', document: { ...document, outputs: withValue(outputs, 'NEW', '.') } },
    { field: 'platform.arch', document: { ...document, platform: { ...platform, arch: 'riscv64' } } },
    { field: 'platform.gpu', document: { ...document, platform: { ...platform, gpu: !platform.gpu } } },
    {
      field: 'platform.labels',
      document: { ...document, platform: { ...platform, labels: [...platform.labels, 'NEW'] } },
    },
    {
      field: 'platform.emulated',
      document: { ...document, platform: { ...platform, emulated: [...platform.emulated, 'NEW'] } },
    },
    { field: 'network', document: { ...document, network: !document.network } },
  ];
}

function layerChanges(layer: KeyLayer): KeyLayer[] {
  if ('remove' in layer) return [{ remove: `${layer.remove}x` }, { tree: otherTree, from: '/', at: '/' }];
  const places = [
    { ...layer, at: `${layer.at}x` },
    { ...layer, from: `${layer.from}x` },
  ];
  if ('tree' in layer) {
    const { tree, ...rest } = layer;
    return [...places, { source: tree, ...rest }, ...treeChanges(tree).map((changed) => ({ ...layer, tree: changed }))];
  }
  const { source, ...rest } = layer;
  return [
    ...places,
    { tree: source, ...rest },
    ...treeChanges(source).map((changed) => ({ ...layer, source: changed })),
  ];
}

test('any single change of a document changes the key and is named, and only it', () => {
  fc.assert(
    fc.property(anyDocument, (document) => {
      const key = jobKey(document);
      for (const change of changesOf(document)) {
        assert.notEqual(jobKey(change.document), key, change.field);
        for (const [before, after] of [
          [document, change.document],
          [change.document, document],
        ] as const) {
          const differences = explainKeys(before, after);
          assert.deepEqual(
            differences.map((difference) => difference.field),
            [change.field],
          );
          assert.notEqual(differences[0]!.before, differences[0]!.after);
        }
      }
    }),
  );
});

test('two documents have differences exactly if they have different keys', () => {
  fc.assert(
    fc.property(anyDocument, anyDocument, (a, b) => {
      assert.equal(explainKeys(a, b).length === 0, jobKey(a) === jobKey(b));
      assert.deepEqual(explainKeys(a, structuredClone(a)), []);
    }),
  );
});

function messages(change: Partial<RunKeyDocument>): string[] {
  return explainKeys(basis, { ...basis, ...change }).map((difference) => difference.message);
}

test('differences read well', () => {
  assert.deepEqual(messages({ inputs: { app: { contents: 'def'.padEnd(64, '0'), meta: 'b'.repeat(64) } } }), [
    'input app changed: tree abc00000… -> def00000…',
  ]);
  assert.deepEqual(messages({ inputs: {} }), ['input app is gone: tree abc00000…']);
  assert.deepEqual(messages({ inputs: { app: { ...basis.inputs.app!, meta: 'c'.repeat(64) } } }), [
    'input app changed: owner, mode or attributes of its root folder (bbbbbbbb… -> cccccccc…)',
  ]);
  assert.deepEqual(messages({ environment: { EPOCHS: '80', SEED: '1' } }), [
    'environment EPOCHS: 60 -> 80',
    'environment SEED is new: 1',
  ]);
  assert.deepEqual(messages({ command: 'set -x\npython3 train.py --fast' }), [
    'command changed in line 2: "python3 train.py" -> "python3 train.py --fast"',
  ]);
  assert.deepEqual(messages({ command: 'set -x' }), ['command changed in line 2: "python3 train.py" -> nothing']);
  assert.deepEqual(messages({ platform: { ...basis.platform, gpu: true, emulated: ['gpu'] } }), [
    'GPU: no -> yes',
    'what the runner emulates: nothing -> gpu',
  ]);
  assert.deepEqual(messages({ source: null }), ['source is gone: tree 11111111…']);
});

test('differences of compositions read well', () => {
  const before: ComposeKeyDocument = {
    version: 1,
    kind: 'compose',
    output: 'system',
    layers: [{ tree: basis.inputs.app!, from: '/', at: '/usr' }, { remove: '/doc' }],
  };
  const after: ComposeKeyDocument = {
    ...before,
    layers: [
      { tree: otherTree, from: '/', at: '/usr' },
      { remove: '/man' },
      { source: otherTree, from: '/config', at: '/etc' },
    ],
  };
  assert.deepEqual(
    explainKeys(before, after).map((difference) => difference.message),
    [
      'layer 1 (at /usr) changed: tree abc00000… -> eeeeeeee…',
      'layer 2 changed: remove /doc -> remove /man',
      'layer 3 is new: source eeeeeeee… from /config at /etc',
    ],
  );
  assert.deepEqual(
    explainKeys(basis, before).map((difference) => difference.message),
    ['kind of job: run -> compose'],
  );
});
