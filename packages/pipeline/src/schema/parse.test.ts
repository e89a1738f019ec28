import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Diagnostic, PipelineError } from '../diagnostic/diagnostic.ts';
import type { CommandJob, Pipeline } from '../model.ts';
import { parsePipeline } from './parse.ts';

function parse(text: string): Pipeline {
  return parsePipeline(text, { project: 'model' });
}

function faults(text: string): readonly Diagnostic[] {
  try {
    parse(text);
  } catch (error) {
    assert.ok(error instanceof PipelineError);
    assert.equal(error.code, 'invalid-pipeline');
    assert.ok(error.diagnostics.length > 0);
    for (const { line, column } of error.diagnostics) assert.ok(line >= 1 && column >= 1);
    return error.diagnostics;
  }
  assert.fail('the file was accepted');
}

/** A job with this body, indented as it is in a file: line 1 of the body is line 3 of the file. */
function job(body: string): string {
  return `jobs:\n  train:\n${body.replace(/^/gm, '    ')}\n`;
}

function command(text: string): CommandJob {
  const [job] = parse(text).jobs;
  assert.ok(job?.kind === 'run');
  return job;
}

const whole = `
image: images/tools
environment: { LANG: C.UTF-8 }
jobs:
  train:
    image: own-tools
    runs-on: { arch: x86_64, gpu: true, memory: 2G, labels: [fast, big, fast] }
    paths: [train.py, "*.md", data/**]
    needs: [lint]
    inputs: { app: app/package }
    environment: { EPOCHS: "60" }
    network: false
    timeout: 5m
    disk: 512M
    run: |
      python3 train.py --out "$OUT/model"
    outputs: { model: ./model/, everything: . }
  lint:
    run: make lint
  tools: { image: host, run: make tools, outputs: [own-tools] }
  system:
    needs: lint
    compose:
      - tree: model
      - { tree: app/package, from: /usr/, at: /opt }
      - source: config
        at: /usr/etc/road-follower
      - remove: /usr/share/doc
    output: system-tree
publish:
  - artifact: system-tree
    channel: robot/edge
    after: lint
`;

test('a file that has everything', () => {
  const at = (line: number, column: number) => ({ line, column });
  const { jobs, publishes, ...rest } = parse(whole);
  const [train, lint, tools, system] = jobs;
  assert.deepEqual(rest, { project: 'model', file: 'treeline.yaml', label: null, releases: [] });
  assert.deepEqual(train, {
    kind: 'run',
    id: 'model/train',
    project: 'model',
    name: 'train',
    position: at(5, 3),
    image: { kind: 'artifact', project: 'model', artifact: 'own-tools', position: at(6, 12) },
    runsOn: { arch: 'x86_64', gpu: true, memoryBytes: 2 * 1024 ** 3, labels: ['big', 'fast'] },
    paths: ['train.py', '*.md', 'data/**'],
    needs: [{ job: 'lint', position: at(9, 13) }],
    inputs: [{ name: 'app', artifact: { project: 'app', artifact: 'package', position: at(10, 20) } }],
    environment: { LANG: 'C.UTF-8', EPOCHS: '60' },
    network: false,
    root: false,
    timeoutSeconds: 300,
    diskBytes: 512 * 1024 ** 2,
    command: 'python3 train.py --out "$OUT/model"\n',
    outputs: [
      { name: 'model', path: 'model' },
      { name: 'everything', path: '.' },
    ],
    labels: {},
  });
  assert.deepEqual(lint, {
    kind: 'run',
    id: 'model/lint',
    project: 'model',
    name: 'lint',
    position: at(18, 3),
    image: { kind: 'artifact', project: 'images', artifact: 'tools', position: at(2, 8) },
    runsOn: { arch: null, gpu: false, memoryBytes: null, labels: [] },
    paths: null,
    needs: [],
    inputs: [],
    environment: { LANG: 'C.UTF-8' },
    network: false,
    root: false,
    timeoutSeconds: 600,
    diskBytes: 10 * 1024 ** 3,
    command: 'make lint',
    outputs: [],
    labels: {},
  });
  assert.ok(tools?.kind === 'run');
  assert.deepEqual([tools.image, tools.outputs], [{ kind: 'host' }, [{ name: 'own-tools', path: 'own-tools' }]]);
  assert.deepEqual(system, {
    kind: 'compose',
    id: 'model/system',
    project: 'model',
    name: 'system',
    position: at(21, 3),
    needs: [{ job: 'lint', position: at(22, 12) }],
    layers: [
      { kind: 'tree', artifact: { project: 'model', artifact: 'model', position: at(24, 15) }, from: '/', at: '/' },
      {
        kind: 'tree',
        artifact: { project: 'app', artifact: 'package', position: at(25, 17) },
        from: '/usr',
        at: '/opt',
      },
      { kind: 'source', folder: 'config', at: '/usr/etc/road-follower' },
      { kind: 'remove', path: '/usr/share/doc' },
    ],
    outputs: [{ name: 'system-tree', path: '.' }],
    labels: {},
    paths: ['config/**'],
  });
  assert.deepEqual(publishes, [
    {
      artifact: { project: 'model', artifact: 'system-tree', position: at(31, 15) },
      channel: 'robot/edge',
      repository: 'public',
      after: [{ job: 'lint', position: at(33, 12) }],
      position: at(31, 5),
    },
  ]);
});

test('labels of sources and outputs, and what may be released although it was made from them', () => {
  const { label, releases, jobs } = parse(`
label: restricted:nda of the camera vendor
jobs:
  drivers: { run: make, outputs: [drivers, docs], labels: { docs: public } }
  system: { compose: [{ tree: drivers }], labels: { system: internal } }
releases:
  - { artifact: system, repository: public, because: " inside an image they may be shipped " }
`);
  assert.equal(label, 'restricted:nda of the camera vendor');
  assert.deepEqual(
    jobs.map(({ labels }) => labels),
    [{ docs: 'public' }, { system: 'internal' }],
  );
  assert.deepEqual(releases, [
    {
      artifact: { project: 'model', artifact: 'system', position: { line: 7, column: 17 } },
      repository: 'public',
      because: 'inside an image they may be shipped',
      position: { line: 7, column: 5 },
    },
  ]);
});

test('environment values are taken as they are written', () => {
  const { environment } = command(
    job('run: x\nenvironment: { A: 3.10, B: 0x1F, C: true, D: "", E: 1e3, F: Yes, G: 007 }'),
  );
  assert.deepEqual(environment, { A: '3.10', B: '0x1F', C: 'true', D: '', E: '1e3', F: 'Yes', G: '007' });
});

test('anchors and aliases can say a thing once', () => {
  const text = 'jobs:\n  a: { run: x, environment: &e { N: 1 } }\n  b: { run: x, environment: *e }\n';
  assert.deepEqual(
    parse(text).jobs.map((job) => job.kind === 'run' && job.environment),
    [{ N: '1' }, { N: '1' }],
  );
});

test('a compose job takes its name for its output, and sees the folders it names only', () => {
  const [all, none] = parse(
    'jobs: { a: { compose: [{ source: . }, { source: x }] }, b: { compose: [{ tree: a }] } }',
  ).jobs;
  assert.deepEqual([all!.paths, all!.outputs], [null, [{ name: 'a', path: '.' }]]);
  assert.deepEqual(none!.paths, []);
});

test('windows line ends and a byte order mark are no fault', () => {
  assert.equal(command('\ufeffjobs:\r\n  a:\r\n    run: |\r\n      one\r\n      two\r\n').command, 'one\ntwo\n');
});

/** [behaviour, file, line:column, message, hint]; exactly one fault each. */
const bad: [string, string, string, RegExp, RegExp][] = [
  ['nothing', '', '1:1', /the file is empty/, /jobs:/],
  ['only a comment', '# x\n', '1:1', /the file is empty/, /jobs:/],
  ['a list', '- a', '1:1', /the file must be a map, not a list/, /image, environment, label, jobs, publish/],
  ['no jobs', 'image: host', '1:1', /no "jobs"/, /write jobs/],
  ['empty jobs', 'jobs: {}', '1:7', /there are no jobs/, /write jobs/],
  ['jobs that are a list', 'jobs: [a]', '1:7', /jobs must be a map, not a list/, /write jobs/],
  [
    'an unknown key of the file',
    'stages: x\njobs: { a: { run: x } }',
    '1:1',
    /unknown key "stages"/,
    /did you mean "jobs"/,
  ],
  ['a misspelt key', job('run: x\ninptus: {}'), '4:5', /unknown key "inptus" in job "train"/, /"inputs"/],
  ['a key of another tool', job('script: x'), '3:5', /unknown key "script"/, /"run"/],
  ['a key with underscore', job('run: x\nruns_on: {}'), '4:5', /unknown key "runs_on"/, /"runs-on"/],
  ['a key like no other', job('run: x\nzzzzzzz: 1'), '4:5', /unknown key "zzzzzzz"/, /known keys: run, image/],
  ['a merge key', job('run: x\n<<: { image: host }'), '4:5', /unknown key "<<"/, /top of the file/],
  ['the same key twice', job('run: x\nrun: y'), '4:5', /"run" is there twice/, /line 3/],
  ['the same job twice', 'jobs:\n  a: { run: x }\n  a: { run: y }', '3:3', /"a" is there twice/, /line 2/],
  ['a list as a key', job('run: x\n? [a]\n: b'), '4:7', /a list cannot be a key/, /word/],
  ['a bad job name', 'jobs: { my job: { run: x } }', '1:9', /"my job" cannot be the name of a job/, /"my-job"/],
  ['a job name with a slash', 'jobs: { a/b: { run: x } }', '1:9', /"a\/b" cannot be/, /"a-b"/],
  ['a job that is text', 'jobs: { a: make }', '1:12', /job "a" must be a map, not "make"/, /a: \{ run/],
  ['a job that is nothing', 'jobs:\n  a:\n', '2:3', /job "a" must be a map, not nothing/, /run, image/],
  ['a job that does nothing', job('needs: []'), '2:3', /job "train" does nothing/, /run: \|/],
  ['an empty script', job('run: "  "'), '3:10', /empty script/, /commands/],
  ['a script as a list', job('run: [a, b]'), '3:10', /run must be text, not a list/, /one command a line/],
  ['a script that is a number', job('run: 5'), '3:10', /run must be text, not the number 5/, /"5"/],
  ['a NUL byte in a script', job('run: "a\\0b"'), '3:10', /NUL/, /take it out/],
  ['a container image', job('run: x\nimage: debian:12'), '4:12', /looks like a container image/, /artifact/],
  ['an image in a registry', job('run: x\nimage: ghcr.io/a/b'), '4:12', /looks like a container image/, /artifact/],
  ['a bad artifact', job('run: x\ninputs: { a: a/b/c }'), '4:18', /does not name an artifact/, /project\/artifact/],
  ['an artifact with a colon', job('run: x\ninputs: { a: "app:package" }'), '4:18', /does not name/, /"app\/package"/],
  [
    'an artifact that leads out',
    job('run: x\ninputs: { a: ../b }'),
    '4:18',
    /does not name an artifact/,
    /project\/artifact/,
  ],
  [
    'the host as an input',
    job('run: x\ninputs: { a: host }'),
    '4:18',
    /"host" is the runner's own system/,
    /only be an image/,
  ],
  [
    'inputs as a list',
    job('run: x\ninputs: [app/package]'),
    '4:13',
    /inputs must be a map/,
    /inputs: \{ package: app\/package \}/,
  ],
  ['a bad input name', job('run: x\ninputs: { ../a: b/c }'), '4:15', /cannot be the name of an input/, /"a"/],
  [
    'an own artifact that is not there',
    job('run: x\ninputs: { a: modle }\noutputs: [model]'),
    '4:18',
    /no job of project "model" makes an artifact "modle"/,
    /did you mean "model"/,
  ],
  [
    'an own artifact by its whole name',
    job('run: x\ninputs: { a: model/modle }\noutputs: [model]'),
    '4:18',
    /makes an artifact "modle"/,
    /did you mean "model"/,
  ],
  ['an own job that is not there', job('run: x\nneeds: [trian]'), '4:13', /needs a job "trian"/, /"train"/],
  ['a job of another project', job('run: x\nneeds: [app/test]'), '4:13', /not a job of this project/, /input/],
  [
    'a duration with a space',
    job('run: x\ntimeout: 5 min'),
    '4:14',
    /timeout must be a duration, not "5 min"/,
    /write 5m$/,
  ],
  ['a duration without a unit', job('run: x\ntimeout: 300'), '4:14', /not the number 300/, /write 5m$/],
  ['a duration of two parts', job('run: x\ntimeout: 1h30m'), '4:14', /"1h30m"/, /write 90m$/],
  ['a duration with a fraction', job('run: x\ntimeout: 1.5h'), '4:14', /"1.5h"/, /write 90m$/],
  ['a duration in words', job('run: x\ntimeout: long'), '4:14', /"long"/, /such as 90s, 5m or 1h/],
  ['no time at all', job('run: x\ntimeout: 0s'), '4:14', /cannot be 0s/, /1s to 168h/],
  ['all the time of the world', job('run: x\ntimeout: 999999h'), '4:14', /cannot be 999999h/, /168h/],
  ['a negative duration', job('run: x\ntimeout: -5m'), '4:14', /must be a duration/, /such as/],
  ['a size with a B', job('run: x\ndisk: 2GB'), '4:11', /disk must be a size, not "2GB"/, /write 2G$/],
  ['a size with a fraction', job('run: x\ndisk: 1.5 GiB'), '4:11', /must be a size/, /write 1536M$/],
  ['a size in bytes', job('run: x\ndisk: 2147483648'), '4:11', /must be a size/, /write 2048M for 2147483648 bytes/],
  ['no disk at all', job('run: x\ndisk: 0G'), '4:11', /cannot be 0G/, /1K/],
  ['yes for true', job('run: x\nnetwork: yes'), '4:14', /network must be true or false, not "yes"/, /write true/],
  ['a number for true', job('run: x\nnetwork: 0'), '4:14', /not the number 0/, /write false/],
  [
    'another name of an architecture',
    job('run: x\nruns-on: { arch: arm64 }'),
    '4:22',
    /unknown architecture "arm64"/,
    /write aarch64/,
  ],
  ['an unknown architecture', job('run: x\nruns-on: { arch: x86_46 }'), '4:22', /unknown architecture/, /"x86_64"/],
  [
    'runs-on as another tool has it',
    job('run: x\nruns-on: ubuntu-latest'),
    '4:14',
    /runs-on must be a map/,
    /labels: \[ubuntu-latest\]/,
  ],
  ['a GPU as a label', job('run: x\nruns-on: { labels: [gpu] }'), '4:25', /"gpu" cannot be a label/, /gpu: true/],
  [
    'an architecture as a label',
    job('run: x\nruns-on: { labels: [ARM64] }'),
    '4:25',
    /cannot be a label/,
    /arch: aarch64/,
  ],
  ['a path that leads out', job('run: x\npaths: [a/../../b]'), '4:13', /leads out of its folder/, /without/],
  ['an absolute pattern', job('run: x\npaths: /src/a'), '4:12', /must be relative/, /write "a"/],
  ['a pattern that excludes', job('run: x\npaths: ["!a"]'), '4:13', /cannot exclude/, /list what/],
  ['a pattern with braces', job('run: x\npaths: ["*.{c,h}"]'), '4:13', /"\{" has no meaning/, /one pattern for each/],
  ['an empty pattern', job('run: x\npaths: [""]'), '4:13', /paths is empty/, /"\."/],
  [
    'a pattern that YAML takes for an alias',
    job('run: x\npaths: [*.py]'),
    '4:13',
    /"\*\.py" names an anchor/,
    /needs quotes: "\*\.py"/,
  ],
  [
    'an output that leads out',
    job('run: x\noutputs: { a: ../b }'),
    '4:19',
    /output "a": "\.\.\/b" leads out/,
    /without/,
  ],
  ['an absolute output', job('run: x\noutputs: { a: /out/b }'), '4:19', /must be relative/, /write "b"/],
  ['a NUL byte in an output', job('run: x\noutputs: { a: "b\\0" }'), '4:19', /contains a NUL byte/, /take it out/],
  [
    'a line end in an output',
    job('run: x\noutputs: { a: "b\\n" }'),
    '4:19',
    /contains a control character/,
    /take it out/,
  ],
  ['a backslash in an output', job('run: x\noutputs: { a: b\\c }'), '4:19', /backslash/, /"b\/c"/],
  ['a part that is too long', job(`run: x\noutputs: { a: ${'x'.repeat(256)} }`), '4:19', /too long/, /255/],
  ['a bad artifact name', job('run: x\noutputs: { ../a: b }'), '4:16', /cannot be the name of an artifact/, /"a"/],
  [
    'an artifact with a long name',
    job(`run: x\noutputs: [${'x'.repeat(101)}]`),
    '4:15',
    /101 characters/,
    /at most 100/,
  ],
  ['an artifact named host', job('run: x\noutputs: [host]'), '4:15', /"host" cannot be/, /runner's own system/],
  ['outputs that are text', job('run: x\noutputs: 5'), '4:14', /outputs must be a map/, /outputs: \[model\]/],
  ['an output without a path', job('run: x\noutputs: { a: }'), '4:16', /must be text, not nothing/, /below \/out/],
  [
    'an artifact made twice',
    'jobs:\n  a: { run: x, outputs: [o] }\n  b: { run: x, outputs: [o] }',
    '3:3',
    /job "b" makes "o", as job "a" does/,
    /name of its own/,
  ],
  [
    'an artifact made twice by one job',
    'jobs:\n  a: { run: x, outputs: [o, o] }',
    '2:3',
    /job "a" makes "o" twice/,
    /name of its own/,
  ],
  ['a bad variable', job('run: x\nenvironment: { A-B: 1 }'), '4:20', /"A-B" cannot be the name/, /letters/],
  ['a variable that is taken', job('run: x\nenvironment: { OUT: 1 }'), '4:20', /not yours/, /another name/],
  [
    'a variable that is every object has',
    job('run: x\nenvironment: { __proto__: 1 }'),
    '4:20',
    /not yours/,
    /another name/,
  ],
  ['a variable without a value', job('run: x\nenvironment: { A: }'), '4:20', /must be text, not nothing/, /A: ""/],
  ['a variable that is a list', job('run: x\nenvironment: { A: [b] }'), '4:23', /must be text, not a list/, /file/],
  [
    'both run and compose',
    job('run: x\ncompose: [{ tree: a/b }]'),
    '3:5',
    /composes, so it cannot have "run"/,
    /second job/,
  ],
  [
    'outputs of a composition',
    job('compose: [{ tree: a/b }]\noutputs: [x]'),
    '4:5',
    /cannot have "outputs"/,
    /output: name/,
  ],
  ['one output of a command', job('run: x\noutput: y'), '4:5', /cannot have "output"/, /outputs: \{/],
  ['an empty composition', job('compose: []'), '3:14', /composes nothing/, /a layer is/],
  ['a composition that is a map', job('compose: { tree: a/b }'), '3:14', /compose must be a list/, /a layer is/],
  ['a layer that is text', job('compose: [base]'), '3:15', /"base" is no layer/, /a layer is/],
  [
    'a layer of two kinds',
    job('compose: [{ tree: a/b, source: c }]'),
    '3:15',
    /both "tree" and "source"/,
    /two layers/,
  ],
  ['a layer with another key', job('compose: [{ tree: a/b, to: /x }]'), '3:28', /unknown key "to"/, /"at"/],
  ['a place that leads out', job('compose: [{ tree: a/b, at: /usr/../.. }]'), '3:32', /leads out/, /without/],
  ['a relative place', job('compose: [{ tree: a/b, at: usr }]'), '3:32', /must begin with "\/"/, /"\/usr"/],
  ['a source that leads out', job('compose: [{ source: .. }]'), '3:25', /leads out/, /without/],
  ['an absolute source', job('compose: [{ source: /etc }]'), '3:25', /must be relative/, /"etc"/],
  ['a source that is a pattern', job('compose: [{ source: "c*" }]'), '3:25', /not a pattern/, /one layer/],
  ['to remove all', job('compose: [{ tree: a/b }, { remove: / }]'), '3:40', /leave nothing/, /name what/],
  ['to remove at first', job('compose: [{ remove: /a }]'), '3:15', /nothing is there yet/, /begin with/],
  ['a composition named host', 'jobs: { host: { compose: [{ tree: a/b }] } }', '1:9', /"host" cannot be/, /own system/],
  ['publish as a map', `${job('run: x')}publish: { artifact: a }`, '4:10', /publish must be a list/, /channel/],
  [
    'publishing what is not there',
    `${job('run: x\noutputs: [model]')}publish: [{ artifact: modle, channel: c }]`,
    '5:23',
    /no job makes/,
    /"model"/,
  ],
  [
    'publishing what another makes',
    `${job('run: x')}publish: [{ artifact: app/package, channel: c }]`,
    '4:23',
    /of another project/,
    /file of "app"/,
  ],
  [
    'publishing without a channel',
    `${job('run: x\noutputs: [a]')}publish: [{ artifact: a }]`,
    '5:11',
    /no "channel"/,
    /robot\/edge/,
  ],
  [
    'a bad channel',
    `${job('run: x\noutputs: [a]')}publish: [{ artifact: a, channel: ../x y }]`,
    '5:35',
    /cannot be a channel/,
    /"x-y"/,
  ],
  [
    'a bad repository',
    `${job('run: x\noutputs: [a]')}publish: [{ artifact: a, channel: c, repository: ../x }]`,
    '5:50',
    /cannot be the name of a repository/,
    /"x"/,
  ],
  [
    'publishing after no job',
    `${job('run: x\noutputs: [a]')}publish: [{ artifact: a, channel: c, after: [trin] }]`,
    '5:46',
    /needs a job "trin"/,
    /"train"/,
  ],
  ['a label that is none', `${job('run: x')}label: secret`, '4:8', /"secret" is no label/, /restricted:<why>/],
  ['a label without a reason', `${job('run: x')}label: restricted`, '4:8', /is no label/, /restricted:nda/],
  ['a misspelt label', `${job('run: x')}label: interal`, '4:8', /is no label/, /"internal"/],
  [
    'a label of no output',
    job('run: x\noutputs: [model]\nlabels: { modle: internal }'),
    '5:15',
    /job "train" has no output "modle"/,
    /"model"/,
  ],
  ['labels as a list', job('run: x\noutputs: [a]\nlabels: [internal]'), '5:13', /labels must be a map/, /a: internal/],
  ['releases as a map', `${job('run: x')}releases: { artifact: a }`, '4:11', /releases must be a list/, /because/],
  [
    'a release without a reason',
    `${job('run: x\noutputs: [a]')}releases: [{ artifact: a, repository: public, because: "" }]`,
    '5:56',
    /because is empty/,
    /audit log/,
  ],
  [
    'a release of what is not there',
    `${job('run: x\noutputs: [model]')}releases: [{ artifact: modle, repository: public, because: x }]`,
    '5:24',
    /releases: no job makes an artifact "modle"/,
    /"model"/,
  ],
  [
    'a release of what another project makes',
    `${job('run: x')}releases: [{ artifact: vendor/drivers, repository: public, because: x }]`,
    '4:24',
    /an artifact of another project/,
    /only "vendor"/,
  ],
  ['a tab', 'jobs:\n\ta: { run: x }', '2:1', /not valid YAML/, /spaces/],
  ['a colon in a command', job('run: echo: x'), '3:10', /not valid YAML/, /quotes/],
  ['a second document', 'jobs: { a: { run: x } }\n---\nb: 1', '2:1', /second document/, /one document/],
  ['a directive', '%YAML 1.1\n---\njobs: { a: { run: x, network: yes } }', '1:1', /directives/, /YAML 1.2/],
  ['a tag', job('run: !sh x'), '3:10', /not valid YAML/, /"!"/],
  ['a control character', 'jobs: { a: { run: "\x1b[2J" } }', '1:20', /control character \\x1b/, /escape/],
];

for (const [behaviour, text, place, message, hint] of bad) {
  test(`refuses ${behaviour}`, () => {
    const found = faults(text);
    assert.equal(found.length, 1, JSON.stringify(found, null, 1));
    const [fault] = found;
    assert.match(fault!.message, message);
    assert.match(fault!.hint ?? '', hint);
    assert.equal(`${fault!.line}:${fault!.column}`, place);
  });
}

test('all faults of a file are told at once, in its order', () => {
  const found = faults(`
jobs:
  a: { rnu: x, timeout: 5 }
  b: { compose: [{ tree: none, at: usr }, { source: .. }] }
publish:
  - { artifact: none, channel: "a b", after: [c] }
`);
  const places = found.map(({ line, column }) => `${line}:${column}`);
  assert.deepEqual(places, ['3:8', '3:25', '4:26', '4:36', '4:53', '6:17', '6:32', '6:47']);
});

test('a bad project name is the fault of the caller', () => {
  for (const project of ['', '../x', 'a/b', 'host']) {
    assert.throws(() => parsePipeline('', { project }), { code: 'invalid-argument' });
  }
});

test('what comes with Treeline is named like any artifact; what does not is refused with the list of what does', () => {
  const [system, base] = parsePipeline(
    'jobs: { system: { compose: [{ tree: treeline/agent }, { tree: treeline/boot, from: /grub }] }, base: { run: x, inputs: { tools: treeline/tools } } }',
    { project: 'p' },
  ).jobs;
  assert.ok(system?.kind === 'compose' && base?.kind === 'run');
  assert.deepEqual(
    system.layers.map(
      (layer) => layer.kind === 'tree' && [layer.artifact.project, layer.artifact.artifact, layer.from],
    ),
    [
      ['treeline', 'agent', '/'],
      ['treeline', 'boot', '/grub'],
    ],
  );
  assert.throws(
    () => parsePipeline('jobs: { s: { compose: [{ tree: treeline/agents }] } }', { project: 'p' }),
    (error: PipelineError) => {
      const [diagnostic] = error.diagnostics;
      assert.equal(diagnostic?.message, 'tree: nothing named "treeline/agents" comes with Treeline');
      const there = 'there are: treeline/agent, treeline/boot, treeline/tools';
      assert.equal(diagnostic.hint, `did you mean "treeline/agent"? ${there}`);
      return true;
    },
  );
  assert.throws(() => parsePipeline('jobs: { a: { run: x } }', { project: 'treeline' }), {
    code: 'invalid-argument',
    message: /"treeline" is taken/,
  });
});
