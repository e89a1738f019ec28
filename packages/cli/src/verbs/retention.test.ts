import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DiskUseAnswer, Freed, Pin, PrunedRepository, RepositoryUse } from '@treeline/server';
import { newCommit, oldCommit, release } from '../testing/answers.ts';
import { treeline } from '../testing/command.ts';
import { type Answer, standIn } from '../testing/stand-in.ts';

const freed = (objects: number, bytes: number, o: Partial<Freed> = {}): Freed => ({
  ...{ objects, bytes, linked: 0, deltas: 0, deltaBytes: 0 },
  ...o,
});
const hours = (count: number) => new Date(Date.now() + count * 3_600_000).toISOString();

const pruned: PrunedRepository = {
  repository: 'public',
  dryRun: true,
  commits: [
    {
      commit: newCommit,
      state: 'kept',
      reasons: ['robot/edge has it now (release 2)', 'board-1 runs it'],
      releases: [{ repository: 'public', channel: 'robot/edge', number: 2 }],
      droppedAt: null,
      goesAt: null,
    },
    {
      commit: oldCommit,
      state: 'dropped',
      reasons: [],
      releases: [{ repository: 'public', channel: 'robot/edge', number: 1 }],
      droppedAt: hours(-3),
      goesAt: hours(21),
    },
    { commit: 'c'.repeat(64), state: 'going', reasons: [], releases: [], droppedAt: hours(-30), goesAt: hours(-6) },
  ],
  kept: { current: 1 },
  freed: freed(12, 5_000_000, { linked: 4_000_000, deltas: 1, deltaBytes: 70_000 }),
  waiting: freed(3, 900),
};
const store: PrunedRepository = {
  ...{ repository: null, dryRun: false, commits: [], kept: { ref: 3, result: 40 } },
  ...{ freed: freed(0, 0), waiting: null },
};
const pin: Pin = {
  ...{ commit: oldCommit, repository: 'public', by: 'alice', reason: 'certified', createdAt: hours(-1) },
  releases: [{ repository: 'public', channel: 'robot/edge', number: 1 }],
};

const amount = (objects: number, bytes: number) => ({ objects, bytes, allocated: bytes * 2, linked: 0 });
const amounts = {
  total: amount(900, 9_000_000),
  exclusive: amount(100, 1_000_000),
  shared: amount(800, 8_000_000),
  deltas: { deltas: 1, bytes: 70_000, allocated: 80_000 },
};
const use: RepositoryUse = {
  ...{ repository: 'public', bytes: 10_000_000, allocated: 20_000_000 },
  ...{ counted: { bytes: 9_500_000, allocated: 19_000_000 }, objects: amount(1000, 9_900_000) },
  ...{ unreferenced: amount(2, 5000), deltas: amounts.deltas, other: { files: 3, bytes: 30_000, allocated: 40_000 } },
  refs: [
    {
      ...{ name: 'robot/edge', ...amounts },
      releases: [
        { commit: newCommit, numbers: [2], current: true, dropped: false, ...amounts },
        { commit: oldCommit, numbers: [1], current: false, dropped: true, ...amounts },
      ],
    },
  ],
};
const all: DiskUseAnswer = {
  repositories: [{ ...use, repository: null, counted: { bytes: 0, allocated: 0 }, refs: [] }, use],
  ...{ bytes: 10_500_000, allocated: 21_000_000 },
};

const answers: Record<string, Answer> = {
  'GET repositories': { repositories: [{ name: 'public' }] },
  'POST repositories/public/prune': pruned,
  'POST store/prune': store,
  'GET pins': { pins: [pin] },
  'POST pins': pin,
  [`DELETE pins/${oldCommit}`]: (_, response) => void response.writeHead(204).end(),
  'GET releases': { releases: [release(2), release(1)] },
  'GET disk-use': ({ query }, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(query.get('repository') ? { ...all, repositories: [use] } : all));
  },
};

test('prune says of every repository and the store what stays and why', async () => {
  await using server = await standIn(answers);
  const { stdout, code } = await treeline(['prune', '--dry-run', ...server.args]);
  assert.equal(code, 0);
  const text = [
    'public: 1 commit stays, 1 in grace, 1 would go now',
    '  would free 5.0 MB in 12 objects, 70 kB in 1 delta; 4.0 MB of it stay under another name, in the store',
    '  later 900 B in 3 objects',
    '  commit      releases      state              why',
    '  bbbbbbbbbb  robot/edge 2  stays              robot/edge has it now (release 2); board-1 runs it',
    '  aaaaaaaaaa  robot/edge 1  goes in 21 h 00 m',
    '  cccccccccc                goes now',
    '',
    'the store: 43 commits stay',
    '  named by a ref (3), a result of a job (40)',
    '  nothing went',
    '',
  ];
  assert.deepEqual(stdout.replace('20 h 59 m', '21 h 00 m').split('\n'), text);
  assert.deepEqual(
    server.requests.slice(1).map(({ path, body }) => [path, body]),
    [
      ['repositories/public/prune', { dryRun: true }],
      ['store/prune', { dryRun: true }],
    ],
  );
});

test('prune of one repository, or of the store alone', async () => {
  await using server = await standIn(answers);
  const asked = async (...args: string[]) => {
    server.requests.length = 0;
    const { code, stdout } = await treeline(['prune', ...args, '--json', ...server.args]);
    assert.equal(code, 0);
    assert.equal((JSON.parse(stdout) as { repositories: unknown[] }).repositories.length, 1);
    return server.requests.map(({ path, body }) => [path, body]);
  };
  assert.deepEqual(await asked('public'), [['repositories/public/prune', {}]]);
  assert.deepEqual(await asked('--store'), [['store/prune', {}]]);
  assert.equal((await treeline(['prune', 'public', '--store', ...server.args])).code, 2);
});

test('pins are listed with who wanted them and why, set, and taken back', async () => {
  await using server = await standIn(answers);
  const list = await treeline(['pin', ...server.args]);
  assert.match(list.stdout, /^commit +where +releases +by +why +when$/m);
  assert.match(list.stdout, /^aaaaaaaaaa {2}public {2}robot\/edge 1 {2}alice {2}certified {2}1 h ago$/m);
  const set = await treeline(['pin', '1', '--repository', 'public', '--reason', 'certified', ...server.args]);
  assert.match(set.stdout, /^aaaaaaaaaa stays in public, until: treeline unpin aaaaaaaaaa --repository public$/m);
  const { body } = server.requests.find(({ method, path }) => method === 'POST' && path === 'pins')!;
  assert.deepEqual(body, { commit: oldCommit, repository: 'public', reason: 'certified' });
  const gone = await treeline(['unpin', 'aaaaaaaaaa', '--repository', 'public', ...server.args]);
  assert.match(gone.stdout, /^aaaaaaaaaa is not pinned any more in public\.$/m);
  assert.equal(server.requests.at(-1)!.query.get('repository'), 'public');
});

test('du: repositories, the refs of one, the releases of a channel', async () => {
  await using server = await standIn(answers);
  const repositories = await treeline(['du', ...server.args]);
  assert.match(repositories.stdout, /^the store +1000 +10 MB +20 MB +70 kB +5\.0 kB$/m);
  assert.match(repositories.stdout, /^public +1000 +10 MB +20 MB +70 kB +5\.0 kB +9\.5 MB$/m);
  assert.match(repositories.stdout, /^11 MB in all, 21 MB on disk; links are files that a line above has, too/m);
  const refs = await treeline(['du', 'public', ...server.args]);
  assert.match(refs.stdout, /^public: 10 MB, 20 MB on disk; 5\.0 kB in 2 objects that no commit needs$/m);
  assert.match(refs.stdout, /^robot\/edge +2 +900 +9\.0 MB +1\.0 MB +8\.0 MB +70 kB$/m);
  const releases = await treeline(['du', 'public:robot/edge', ...server.args]);
  assert.match(releases.stdout, /^ +2 {2}\* {2}bbbbbbbbbb +900 +9\.0 MB +1\.0 MB +8\.0 MB +70 kB$/m);
  assert.match(releases.stdout, /^ +1 +aaaaaaaaaa {2}dropped +900/m);
  const asked = server.requests.map(({ query }) => [query.get('repository'), query.get('channel')]);
  assert.deepEqual(asked, [
    [null, null],
    ['public', null],
    ['public', 'robot/edge'],
  ]);
  await treeline(['du', 'robot/edge', ...server.args]);
  assert.equal(server.requests.at(-1)!.query.get('repository'), 'public');
  assert.deepEqual(
    JSON.parse((await treeline(['du', '--json', ...server.args])).stdout),
    JSON.parse(JSON.stringify(all)),
  );
  assert.equal((await treeline(['du', 'not a thing', ...server.args])).code, 2);
});
