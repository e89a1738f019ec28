import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openRepo, withTransaction, writeCommit } from '@treeline/ostree';
import { openJobStore } from '../job/store.ts';
import type { BoardWork, JobSpec, Tree } from '../protocol.ts';
import { testStore } from '../testing/store.ts';
import { runBoardJob } from './board-job.ts';
import { openBoards } from './boards.ts';

/** A rig whose commands do nothing: a trial gets as far as the image that it is to be flashed with. */
const RIG = `name: rig
architecture: x86_64
boot: { loader: grub }
image: { size: 1G }
drive: { kind: command, power-on: 'true', power-off: 'true', flash: 'true', console: cat }
`;

describe('a board job', { timeout: 60_000 }, () => {
  let folder = '';
  let store: Awaited<ReturnType<typeof testStore>>;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-board-job-'));
    await mkdir(join(folder, 'jobs'));
    await writeFile(join(folder, 'rig.yaml'), RIG);
    store = await testStore(folder);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  /** A system without a kernel, of which there can be no image. */
  const commit = async (name: string): Promise<string> => {
    const tree = await store.put({ 'usr/bin/name': name });
    const repo = await openRepo(store.path);
    return await withTransaction(repo, (tx) => writeCommit(tx, { tree, subject: name, timestamp: 0 }));
  };

  const run = async (
    board: BoardWork['board'],
    o: { system: string; over?: string | null; source?: Tree; faults?: BoardWork['faults'] },
  ) => {
    const notes: string[] = [];
    const device = { id: 'treeline-lab-x-1', token: 't', gateway: 'https://127.0.0.1:8421', channel: 'robot/stable' };
    const spec: JobSpec & { board: BoardWork } = {
      ...{ project: 'p', job: 'try', run: 'r', key: 'k'.repeat(64), image: { host: true }, inputs: [], emulated: [] },
      ...{ source: o.source ?? null, command: '', environment: {}, network: false, timeoutSeconds: 60, diskBytes: 1 },
      ...{ gpu: false, outputs: [{ name: 'try-report', path: '.' }] },
      board: { board, system: o.system, over: o.over ?? null, faults: o.faults ?? [], device },
    };
    const machine = {
      boards: await openBoards([join(folder, 'rig.yaml')]),
      ...{ storeDir: store.path, store: await openJobStore(store.path), jobsDir: join(folder, 'jobs') },
    };
    const result = await runBoardJob(spec, machine, {
      onOutput: async () => {},
      note: (line) => void notes.push(line),
      signal: new AbortController().signal,
      device: async () => ({
        kind: 'ok',
        body: { now: Date.now(), target: o.system, device: null, events: [], sent: { requests: 0, bytes: 0 } },
      }),
    });
    assert.deepEqual(await readdir(join(folder, 'jobs')), [], 'nothing is left behind');
    return { result, notes };
  };

  test('of a candidate that no image can be made of is failed by it; of such a release it is infrastructure', async () => {
    const candidate = await commit('candidate');
    const alone = await run({ name: 'rig' }, { system: candidate });
    assert.equal(alone.result.status, 'failed');
    assert.ok(alone.result.status === 'failed' && alone.result.reason === 'board');
    assert.match(alone.result.message, /kernel/);
    assert.ok(alone.notes.includes(`flash ${candidate}`), 'the log says what was done');

    const release = await commit('release');
    const { result } = await run({ name: 'rig' }, { system: candidate, over: release });
    assert.equal(result.status, 'infrastructure');
    assert.match(
      result.status === 'infrastructure' ? result.message : '',
      new RegExp(`no image of the release ${release}`),
    );
  });

  test('on a board that cannot suffer what is asked says so, and so does one on a board that is not here', async () => {
    const system = await commit('system');
    const { result } = await run({ name: 'rig' }, { system, faults: ['network-loss'] });
    assert.equal(result.status, 'failed');
    assert.match(result.status === 'failed' ? result.message : '', /cannot suffer network-loss/);
    const other = await run({ name: 'other' }, { system });
    assert.deepEqual(other.result, { status: 'infrastructure', message: 'this runner has no board other' });
  });

  test('never runs commands of a board file of the repository', async () => {
    const proof = join(folder, 'proof');
    const source = await store.put({ 'rig.yaml': RIG.replace("power-on: 'true'", `power-on: 'touch ${proof}'`) });
    const { result } = await run({ file: 'rig.yaml' }, { system: await commit('system'), source });
    assert.equal(result.status, 'failed');
    assert.match(result.status === 'failed' ? result.message : '', /rig\.yaml is no board that QEMU plays/);
    assert.ok(!(await readdir(folder)).includes('proof'));
    const none = await run({ file: 'none.yaml' }, { system: await commit('system'), source });
    assert.match(none.result.status === 'failed' ? none.result.message : '', /has no board file none\.yaml/);
  });
});
