import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  commit,
  device,
  diff,
  job,
  newCommit,
  oldCommit,
  project,
  publication,
  release,
  repository,
  run,
} from './testing/answers.ts';
import { treeline } from './testing/command.ts';
import { type Answer, standIn } from './testing/stand-in.ts';

const unadmitted = [
  {
    repository: 'public',
    channel: 'robot/edge',
    commit: newCommit,
    label: 'internal',
    path: ['system/system', 'vendor/drivers'],
  },
];

const everything: Record<string, Answer> = {
  'GET projects': { projects: [project] },
  'POST projects': project,
  'DELETE projects/app': (_, response) => void response.writeHead(204).end(),
  'GET runs': { runs: [run()] },
  'GET runs/latest': run(),
  'GET runs/3': run(),
  'GET runs/run-3': run(),
  'POST runs': run(),
  'POST runs/3/cancel': run(),
  'POST projects/app/run': run(),
  'GET executions/x-package/log': (_, response) => void response.end('one\ntwo \x1b[2Jthree\n'),
  'GET releases': { releases: [release(2), release(1)] },
  [`GET commits/${newCommit}`]: commit,
  'GET commits/bbbb': commit,
  'GET diff': diff,
  'GET releases/2': { release: release(2), publication: publication([release(2)]) },
  'POST publish': publication([release(2)]),
  'POST releases/revert': publication([release(3, { commit: oldCommit, previous: newCommit })]),
  'POST releases/2/cancel': { release: release(2), publication: publication([release(2)]) },
  'GET labels': { labels: [] },
  'POST labels': { labelled: newCommit, labels: commit.labels, unadmitted: [] },
  'POST labels/remove': { labelled: 'vendor', labels: [], unadmitted },
  'GET repositories': { repositories: [repository] },
  'GET repositories/public': repository,
  'POST repositories': repository,
  'PATCH repositories/public': repository,
  'DELETE repositories/public': (_, response) => void response.writeHead(204).end(),
  'POST signing-keys': { name: 'release', publicKey: 'PUBLIC' },
  'GET devices': { devices: [device('board-1')] },
  'GET devices/board-1': { ...device('board-1'), events: [], inventory: {} },
  'PATCH devices/board-1': device('board-1'),
  'DELETE devices/board-1': (_, response) => void response.writeHead(204).end(),
  'POST enrolment-tokens': {
    token: 'secret.pin',
    gateway: 'https://127.0.0.1:1',
    expiresAt: '2026-11-01T12:00:00.000Z',
    uses: 1,
    channel: 'robot/edge',
    repository: 'public',
  },
};

test('publishing several commits sends them together, each to its own channel', async () => {
  await using server = await standIn(everything);
  const sent = async (...words: string[]) => {
    const { code, stderr } = await treeline(['publish', ...words, ...server.args]);
    assert.deepEqual([stderr, code], ['', 0]);
    return server.requests.findLast(({ method }) => method === 'POST')?.body;
  };
  assert.deepEqual(await sent('1', '2', '--to', 'partners:a', '--to', 'partners:b', '--reason', 'both'), {
    repository: 'partners',
    reason: 'both',
    items: [
      { commit: oldCommit, channel: 'a' },
      { commit: newCommit, channel: 'b' },
    ],
  });
  assert.deepEqual(await sent('2', '--to', 'a', '--to', 'b', '--expect', 'none', '--expect', '1'), {
    items: [
      { commit: newCommit, channel: 'a', expect: null },
      { commit: newCommit, channel: 'b', expect: oldCommit },
    ],
  });
});

test('a release is shown with who, signatures, deltas, labels and what was declared; what is out in spite of a label, too', async () => {
  await using server = await standIn(everything);
  const { stdout } = await treeline(['release', 'show', '2', ...server.args]);
  assert.match(stdout, /^release +2 of public:robot\/edge$/m);
  assert.match(stdout, /^signed by +ed25519:release$/m);
  assert.match(stdout, /^who +the server, for run-3$/m);
  assert.match(stdout, /^internal +system\/system <- source of app at 1234567890$/m);
  assert.match(stdout, /^system\/system is declared releasable: the licence allows it$/m);
  assert.match(stdout, /treeline\.yaml:12 of system at 1234567890$/m);
  assert.match(stdout, /lets pass system\/system <- vendor\/drivers \(restricted:nda\)$/m);
  assert.match(stdout, /^aaaaaaaaaa +made +4\.1 kB/m);
  const shown = await treeline(['show', 'bbbb', ...server.args]);
  assert.match(shown.stdout, /^restricted:nda +vendor\/drivers +treeline\.yaml of vendor, of this artifact$/m);
  const change = ['label', '--project', 'vendor', '--remove', 'internal', '--reason', 'ours'];
  const { stdout: told } = await treeline([...change, ...server.args]);
  assert.match(told, /^vendor is not internal by itself any more\.$/m);
  assert.match(
    told,
    /^public:robot\/edge is published already and has system\/system <- vendor\/drivers \(internal\)\.$/m,
  );
});

test('every verb prints one JSON document with --json', async () => {
  await using server = await standIn(everything);
  const calls: Array<[string[], object]> = [
    [['project'], { projects: [project] }],
    [['project', 'add', 'https://example.org/app.git'], project],
    [['project', 'remove', 'app'], { removed: 'app' }],
    [['run'], run()],
    [['run', 'app'], run()],
    [['runs'], { runs: [run()] }],
    [['status'], run()],
    [['status', '3'], run()],
    [['cancel', '3'], run()],
    [['logs', 'app/package'], { job: 'app/package', execution: 'x-package', log: 'one\ntwo \x1b[2Jthree\n' }],
    [['publish', 'bbbb', '--to', 'robot/edge'], publication([release(2)])],
    [['release'], { releases: [release(2), release(1)] }],
    [['release', 'list', 'robot/edge'], { releases: [release(2), release(1)] }],
    [['release', 'show', '2'], { release: release(2), publication: publication([release(2)]) }],
    [['release', 'revert', 'robot/edge'], publication([release(3, { commit: oldCommit, previous: newCommit })])],
    [['release', 'cancel', '2'], { release: release(2), publication: publication([release(2)]) }],
    [['label'], { labels: [] }],
    [['label', 'bbbb'], { labels: commit.labels }],
    [
      ['label', 'bbbb', 'restricted:nda', '--reason', 'contract 17'],
      { labelled: newCommit, labels: commit.labels, unadmitted: [] },
    ],
    [
      ['label', '--project', 'vendor', '--remove', 'internal', '--reason', 'ours'],
      { labelled: 'vendor', labels: [], unadmitted },
    ],
    [['repository'], { repositories: [repository] }],
    [['repository', 'show', 'public'], repository],
    [['repository', 'add', 'public', 'access=public'], repository],
    [['repository', 'set', 'public', 'deltas.most=3'], repository],
    [['repository', 'remove', 'public'], { removed: 'public' }],
    [['repository', 'new-key', 'release'], { name: 'release', publicKey: 'PUBLIC' }],
    [['show', 'robot/edge'], commit],
    [['diff', '1', '2'], diff],
    [['devices', 'remove', 'board-1'], { removed: 'board-1' }],
  ];
  const ends: Awaited<ReturnType<typeof treeline>>[] = [];
  // A few at a time: a client that waits long for its processor finds its connection closed.
  for (let at = 0; at < calls.length; at += 6) {
    const some = calls.slice(at, at + 6).map(([args]) => treeline([...args, '--json', ...server.args]));
    ends.push(...(await Promise.all(some)));
  }
  for (const [index, [args, expected]] of calls.entries()) {
    assert.deepEqual([ends[index]!.stderr, ends[index]!.code], ['', 0], args.join(' '));
    assert.deepEqual(JSON.parse(ends[index]!.stdout), JSON.parse(JSON.stringify(expected)), args.join(' '));
  }
});

test('a run is shown with what was reused and why the rest ran again', async () => {
  await using server = await standIn(everything);
  const { stdout } = await treeline(['status', '--sources', '--why', ...server.args]);
  assert.match(stdout, /^Run 3 passed {2}push to app {2}4\.0 s$/m);
  assert.match(stdout, /^app\/package {2}passed {2}the source changed +1\.5 s$/m);
  assert.match(stdout, /^model\/train {2}reused$/m);
  assert.match(stdout, /^system\/system → public:robot\/edge {2}published bbbbbbbbbb$/m);
  assert.match(stdout, /^2 jobs: 1 ran, 1 reused$/m);
  assert.match(stdout, /^app 1234567890 Steer with more care/m);
  assert.match(stdout, /^app\/package\n {2}source {2}the source changed$/m);
});

test('a run that could not be planned shows where and what to do', async () => {
  const diagnostics = [
    {
      project: 'app',
      file: 'treeline.yaml',
      line: 3,
      column: 7,
      message: 'unknown key "neds"',
      hint: 'did you mean "needs"?',
    },
  ];
  const broken = run({
    state: 'failed',
    jobs: [],
    publishes: [],
    error: { code: 'pipeline-invalid', message: 'broken', diagnostics },
  });
  await using server = await standIn({ ...everything, 'GET runs/latest': broken });
  const { stdout } = await treeline(['status', ...server.args]);
  assert.match(stdout, /app\/treeline\.yaml:3:7: unknown key "neds"\n {2}did you mean "needs"\?/);
});

test('a run is watched to its end; a failing job shows the end of its log and exit code 1', async () => {
  let asked = 0;
  const failing = job('app/test', {
    state: 'failed',
    failure: { reason: 'exit', message: 'exit code 3', exitCode: 3 },
    executionId: 'x-test',
  });
  await using server = await standIn({
    ...everything,
    'GET runs/run-3': (_, response) => {
      asked++;
      const now =
        asked < 2
          ? run({
              state: 'running',
              finishedAt: null,
              durationMs: null,
              publishes: [],
              jobs: [job('app/test', { state: 'running', durationMs: null, finishedAt: null })],
            })
          : run({
              state: 'failed',
              jobs: [failing],
              publishes: [],
              counts: { total: 1, reused: 0, states: { failed: 1 } },
            });
      response.setHeader('content-type', 'application/json').end(JSON.stringify(now));
    },
    'GET executions/x-test/log': (_, response) =>
      void response.end(`${Array.from({ length: 40 }, (_unused, i) => `line ${i + 1}`).join('\n')}\n`),
  });
  const { code, stdout, stderr } = await treeline(['run', '--wait', ...server.args]);
  assert.equal(code, 1);
  assert.match(stdout, /^ {2}running {3}app\/test/m);
  assert.match(stdout, /^ {2}failed {4}app\/test +1\.5 s {2}exit code 3\n {4}│ … 25 lines before\n {4}│ line 26\n/m);
  assert.match(stdout, /│ line 40\nRun 3 failed in 4\.0 s: 1 failed\n$/);
  assert.match(stderr, /Run 3 did not pass: app\/test failed\.\n {2}treeline logs app\/test --run 3/);

  asked = 0;
  const json = await treeline(['run', '--wait', '--json', ...server.args]);
  assert.equal(json.code, 1);
  const states = json.stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { state: string }).state);
  assert.deepEqual(states, ['running', 'failed']);
  const { error } = JSON.parse(json.stderr) as { error: object };
  assert.deepEqual(error, {
    code: 'failed',
    message: 'Run 3 did not pass: app/test failed.',
    hint: 'treeline logs app/test --run 3',
    exitCode: 1,
  });
});

test('a run is watched on when the server was away for a moment', async () => {
  let asked = 0;
  const running = run({ state: 'running', finishedAt: null, durationMs: null });
  await using server = await standIn({
    ...everything,
    'GET runs/run-3': (_, response) => {
      asked++;
      if (asked === 2) response.destroy();
      else response.end(JSON.stringify(asked < 3 ? running : run()));
    },
  });
  const { code, stdout, stderr } = await treeline(['run', '--wait', ...server.args]);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /Run 3 passed/);
});

test('a table that is shown elsewhere is as wide as COLUMNS says', async () => {
  await using server = await standIn(everything);
  const { stdout } = await treeline(['devices', ...server.args], { env: { COLUMNS: '64' } });
  assert.ok(
    stdout.split('\n').every((line) => line.length <= 64),
    stdout,
  );
});

test('Ctrl-C while watching says that the run goes on, and is exit code 130', async () => {
  const running = run({ state: 'running', finishedAt: null, durationMs: null });
  await using server = await standIn({ ...everything, 'GET runs/run-3': running });
  let sent = false;
  const { code, stderr } = await treeline(['run', '--wait', ...server.args], {
    onOutput: (stdout, _, kill) => {
      if (!sent && stdout.includes('passed')) kill('SIGINT');
      sent ||= stdout.includes('passed');
    },
  });
  assert.equal(code, 130);
  assert.match(
    stderr,
    /^treeline: Interrupted\.\n {2}Run 3 goes on\. Look: treeline status 3; stop it: treeline cancel 3\n$/,
  );
});

test('a followed log goes on after the server went away', async () => {
  const log = 'one\ntwø\n';
  let asked = 0;
  await using server = await standIn({
    ...everything,
    'GET executions/x-package/log': ({ query }, response) => {
      asked++;
      assert.equal(query.get('follow'), '1');
      const rest = Buffer.from(log).subarray(Number(query.get('offset')));
      // The first answer is cut in the middle of a character; the second ends as when a server is stopped.
      response.write(rest.subarray(0, asked === 1 ? 7 : 1));
      if (asked === 1) setTimeout(() => response.destroy(), 50);
      else response.end(asked === 2 ? '' : rest.subarray(1));
    },
  });
  const { code, stdout, stderr } = await treeline(['logs', 'package', '--follow', ...server.args]);
  assert.deepEqual([code, stdout, stderr], [0, log, '']);
});

test('revisions are channels, releases, the release before, or what the store knows', async () => {
  await using server = await standIn(everything);
  for (const [from, to] of [
    ['robot/edge^', 'robot/edge'],
    ['1', '#2'],
    ['public:robot/edge^', 'bbbb'],
    [oldCommit, newCommit],
  ]) {
    const { code, stderr } = await treeline(['diff', from!, to!, ...server.args]);
    assert.deepEqual([code, stderr], [0, ''], `${from} ${to}`);
    const asked = server.requests.at(-1)!;
    assert.deepEqual([asked.path, asked.query.get('from'), asked.query.get('to')], ['diff', oldCommit, newCommit]);
  }
  for (const rev of ['#9', 'robot/edge^^', 'nonsense']) {
    const { code, stderr } = await treeline(['show', rev, ...server.args]);
    assert.equal(code, 5, stderr);
    assert.match(stderr, /release|named "nonsense"/);
  }
});

test('a diff names the files with their kinds and sizes, and --stat only counts', async () => {
  await using server = await standIn(everything);
  const { stdout } = await treeline(['diff', '1', '2', ...server.args]);
  assert.match(stdout, /^M {2}\/usr\/lib\/model +content +1\.2 kB → 3\.4 kB +1\.5 kB$/m);
  assert.match(
    stdout,
    /^M {2}\/usr\/bin\/ping +mode 0755 → 4755, owner 0:0 → 0:27, \+security\.capability +640 B +700 B$/m,
  );
  assert.match(stdout, /^A {2}\/usr\/bin\/steer +file 0755 +512 B +300 B$/m);
  assert.match(stdout, /^D {2}\/etc\/old +symlink to new$/m);
  const summary =
    /^aaaaaaaaaa\.\.bbbbbbbbbb {2}4 paths: 1 added, 1 removed, 2 modified\na device fetches 4 objects, 5\.0 kB of 9\.0 MB \(<0\.1 %\)\n$/m;
  assert.match(stdout, summary);
  assert.match((await treeline(['diff', '1', '2', '--stat', ...server.args])).stdout, new RegExp(`^${summary.source}`));
  // On a narrow terminal what differs is never cut: it goes below.
  const narrow = await treeline(['diff', '1', '2', ...server.args], { env: { COLUMNS: '64' } });
  assert.ok(
    narrow.stdout.split('\n').every((line) => line.length <= 64),
    narrow.stdout,
  );
  assert.match(narrow.stdout, /mode 0755 → 4755, owner 0:0 → 0:27,?\s+\+security\.capability/);
});

test('devices show what they run, why, and from which revisions it was made', async () => {
  const reason = 'required check 20-model.sh failed with exit code 1';
  const devices = [
    device('board-1'),
    device('board-2', {
      state: 'rolled-back',
      rolledBackFrom: newCommit,
      current: oldCommit,
      target: oldCommit,
      reason,
    }),
    device('board-3', { accepted: false, state: null, current: null, provenance: null }),
    device('board-4', { silentSince: '2026-11-01T12:00:00.000Z', current: oldCommit }),
  ];
  await using server = await standIn({ ...everything, 'GET devices': { devices } });
  const { stdout } = await treeline(['devices', ...server.args]);
  assert.match(stdout, /^board-1 {2}good +#2 bbbbbbbbbb {2}robot\/edge {2}(?:now|\d+ s ago)$/m);
  assert.match(
    stdout,
    /^board-2 {2}rolled-back {2}#1 aaaaaaaaaa .*came back from #2 bbbbbbbbbb: required check 20-model\.sh failed/m,
  );
  assert.match(stdout, /^board-3 {2}pending .*treeline devices set board-3 --accept$/m);
  assert.match(stdout, /^board-4 {2}silent .*should run #2 bbbbbbbbbb$/m);
  assert.match(
    stdout,
    /^#1 aaaaaaaaaa on board-2, board-4 was made from\n.*\n {2}app {6}1234567890 {2}Steer with more care/m,
  );
  const json = await treeline(['devices', '--json', ...server.args]);
  assert.deepEqual(JSON.parse(json.stdout), JSON.parse(JSON.stringify({ devices })));
});

test('what is changed of a device is what was named', async () => {
  await using server = await standIn(everything);
  const { code } = await treeline([
    'devices',
    'set',
    'board-1',
    '--accept',
    '--channel',
    'other:robot/beta',
    '--forgive',
    '1',
    ...server.args,
  ]);
  assert.equal(code, 0);
  const patch = server.requests.find(({ method }) => method === 'PATCH');
  assert.deepEqual(patch?.body, { accepted: true, channel: 'robot/beta', repository: 'other', forgive: [oldCommit] });
  assert.equal((await treeline(['devices', 'set', 'board-1', ...server.args])).code, 2);

  // A developer's commit, which the server has not: it knows it by its failure only.
  const failed = '0'.repeat(12) + 'f'.repeat(52);
  const badReleases = [{ commit: failed, reason: 'no', at: '2026-11-01T12:00:00.000Z' }];
  await using other = await standIn({
    ...everything,
    'GET devices/board-1': { ...device('board-1', { badReleases }), events: [], inventory: {} },
  });
  assert.equal((await treeline(['devices', 'set', 'board-1', '--forgive', '0000000000', ...other.args])).code, 0);
  assert.deepEqual(other.requests.find(({ method }) => method === 'PATCH')?.body, { forgive: [failed] });
  const token = await treeline([
    'devices',
    'enrol-token',
    '--channel',
    'robot/edge',
    '--expires',
    '2h',
    '--uses',
    '3',
    ...server.args,
  ]);
  assert.match(token.stdout, /^secret\.pin$/m);
  assert.deepEqual(server.requests.at(-1)?.body, { channel: 'robot/edge', expiresSeconds: 7200, uses: 3 });
});

test('the token is sent, and an admin token only to the server whose folder it is in', async () => {
  await using server = await standIn(everything);
  await using other = await standIn(everything);
  const data = await mkdtemp(join(tmpdir(), 'treeline-cli-'));
  try {
    await writeFile(join(data, 'server.json'), JSON.stringify({ url: server.url, gateway: null, pid: 1 }));
    await writeFile(join(data, 'admin-token'), 'from-the-folder\n');
    const sent = (from: typeof server) => from.requests.at(-1)?.headers.authorization;
    const env = { TREELINE_DATA: data };
    assert.equal((await treeline(['runs'], { env })).code, 0);
    assert.equal(sent(server), 'Bearer from-the-folder');
    await treeline(['runs', '--server', server.url], { env });
    assert.equal(sent(server), 'Bearer from-the-folder');
    await treeline(['runs', '--server', other.url], { env });
    assert.equal(sent(other), undefined);
    await treeline(['runs'], { env: { ...env, TREELINE_SERVER: other.url, TREELINE_TOKEN: 'mine' } });
    assert.equal(sent(other), 'Bearer mine');
    await treeline(['runs', '--data', data], { env: { TREELINE_SERVER: other.url } });
    assert.equal(sent(server), 'Bearer from-the-folder');
  } finally {
    await rm(data, { recursive: true });
  }
});

/** An address where nothing listens: of a server that was just closed. */
async function closedAddress(): Promise<string> {
  await using server = await standIn({});
  return server.url;
}

test('no server says so, with the command that starts one', async () => {
  const data = await mkdtemp(join(tmpdir(), 'treeline-cli-'));
  try {
    const none = await treeline(['runs', '--data', data]);
    assert.equal(none.code, 3);
    assert.match(none.stderr, /No server is running here/);
    assert.ok(none.stderr.includes(`treeline up --data ${data}`));
    await writeFile(join(data, 'server.json'), JSON.stringify({ url: await closedAddress(), gateway: null, pid: 1 }));
    const gone = await treeline(['runs', '--data', data]);
    assert.equal(gone.code, 3);
    assert.match(
      gone.stderr,
      /cannot be reached: nothing listens there\.\n {2}It is not running any more\. Start it with: treeline up --data/,
    );
    await writeFile(join(data, 'server.json'), '{"url":');
    const damaged = await treeline(['runs', '--data', data, '--json']);
    assert.equal(damaged.code, 1);
    assert.match(
      (JSON.parse(damaged.stderr) as { error: { message: string } }).error.message,
      /server\.json is damaged/,
    );
  } finally {
    await rm(data, { recursive: true });
  }
});

const refusals: Array<[number, string, number]> = [
  [400, 'invalid-request', 2],
  [401, 'unauthenticated', 4],
  [404, 'not-found', 5],
  [409, 'conflict', 6],
  [422, 'source-unreachable', 2],
  [500, 'internal', 7],
  [503, 'unavailable', 3],
];

test("the server's refusals keep their words and have exit codes of their own", async () => {
  for (const [status, code, exit] of refusals) {
    await using server = await standIn({
      'GET runs': (_, response) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(
          JSON.stringify({ error: { code, message: 'it did \x1b[2Jnot work', hint: 'do this', requestId: 'r-7' } }),
        );
      },
    });
    const ended = await treeline(['runs', ...server.args]);
    assert.equal(ended.code, exit, String(status));
    assert.equal(
      ended.stderr,
      `treeline: it did \ufffd[2Jnot work\n  do this\n${exit === 7 ? '  (request r-7)\n' : ''}`,
    );
  }
});

const junk: Array<[string, Answer, RegExp]> = [
  [
    'HTML',
    (_, response) => void response.setHeader('content-type', 'text/html').end('<html>\x1b]0;x\x07Welcome</html>'),
    /not understood: text\/html, "<html>Welcome<\/html>"/,
  ],
  [
    'HTML refusal',
    (_, response) => void response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad gateway</h1>'),
    /not understood: text\/html, "502 <h1>/,
  ],
  ['bytes', (_, response) => void response.end(Buffer.from([0xff, 0, 1, 0xfe])), /was not understood/],
  ['nothing', (_, response) => void response.end(), /was not understood/],
  ['a number', (_, response) => void response.end('7'), /was not understood/],
  ['another form', { runs: [null] }, /not of the form that was agreed/],
  ['no list', {}, /not of the form that was agreed/],
  ['a cell that is none', { runs: [{ ...run(), reason: 7 }] }, /not of the form that was agreed/],
  [
    'a cut answer',
    (_, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('{"runs"');
      setTimeout(() => response.destroy(), 20);
    },
    /cannot be reached/,
  ],
  [
    'a redirect',
    (_, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    /cannot be reached: .*redirect/,
  ],
];

test('answers that no Treeline server gives are clear errors', async () => {
  for (const [name, answer, message] of junk) {
    await using server = await standIn({ 'GET runs': answer });
    const { code, stdout, stderr } = await treeline(['runs', ...server.args]);
    assert.ok(code === 7 || code === 3, `${name}: ${code}`);
    assert.equal(stdout, '', name);
    assert.match(stderr, message, name);
    assert.ok(!stderr.includes('\x1b') && !stderr.includes('\n    at '), name);
  }
});

test('a server that does not answer can be interrupted at once', async () => {
  let interrupt: ((signal: NodeJS.Signals) => void) | undefined;
  await using server = await standIn({ 'GET runs': () => interrupt?.('SIGINT') });
  const ended = treeline(['runs', ...server.args], {
    started: (kill) => {
      interrupt = kill;
    },
  });
  assert.equal((await ended).code, 130);
});
