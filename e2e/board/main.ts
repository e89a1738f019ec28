// `npm run e2e:board [-- --aarch64 | --job] [--debian 13] [--dracut] [--keep DIR]`: a real Debian, made by a pipeline, boots
// on a board that QEMU plays, takes a release through the server and its gateway, falls back from releases that are broken
// in three ways, takes none of them again, and takes the next good one. What the server has on record decides; the console
// shows what happened. With `--job`, board jobs of the pipeline do the same to what it makes, before it is released: see jobs.ts.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  type Board,
  type LegReport,
  lastLines,
  legTable,
  legTimes,
  makeRawImage,
  openBoard,
  readBoardFile,
} from '@treeline/board';
import type { DeviceDetail, EnrolmentToken, RunDetail } from '@treeline/server';
import { TreelineServer } from '../testing/treeline-server.ts';
import { Api } from './api.ts';
import { enableForeignPrograms } from './foreign-programs.ts';
import { tryJobs } from './jobs.ts';
import { KINDS, Project, type System, suiteOf } from './project.ts';
import { timed } from './timed.ts';

/** Another one each time: a kept data folder knows those before with keys of their own. */
const STAMP = Date.now().toString(36);
const DEVICE = `board-${STAMP}`;

const { values } = parseArgs({
  options: {
    aarch64: { type: 'boolean' },
    /** Which Debian is made into the board's system. */
    debian: { type: 'string', default: '12' },
    /** dracut makes its initramfs, instead of initramfs-tools. */
    dracut: { type: 'boolean' },
    /** Board jobs instead of a board of the fleet. */
    job: { type: 'boolean' },
    /** Without the faults, for benches. */
    'no-faults': { type: 'boolean' },
    /** Keeps everything in this folder: the next run with it builds only what is new. */
    keep: { type: 'string' },
    /** Ends after the good update, for benches. */
    'only-good': { type: 'boolean' },
    /** Writes the table's rows as JSON. */
    report: { type: 'string' },
  },
});
const kind = values.aarch64 ? KINDS.aarch64 : KINDS.x86_64;
const system: System = {
  ...{ kind, suite: suiteOf(values.debian) },
  initramfs: values.dracut ? 'dracut' : 'initramfs-tools',
};
/** Of each thing that is waited for: three times what it takes on two cores that do nothing else. */
const LIMIT_MS = 420_000;
/** An emulated Arm machine takes about three times as long for everything. */
const patience = kind.name === 'aarch64' ? 3 : 1;

const began = performance.now();
const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'treeline-board-'));
mkdirSync(folder, { recursive: true });
const log = join(folder, 'console.log');
const server = new TreelineServer(join(folder, 'data'), values.job ? ['--boards', kind.board] : []);
const legs: LegReport[] = [];
let board: Board | null = null as Board | null;
// The board dies with this process, whatever ends it; the server has to be told.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    say(`ended by ${signal}`);
    void server.stop().finally(() => process.exit(130));
  });
}
try {
  await main();
  say('passed');
} catch (error) {
  process.exitCode = 1;
  say(`FAILED: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  if (board) console.log(`the console ends with:\n${lastLines(board.console.text(), 60)}`);
} finally {
  console.log(`\n${legTable(legs)}`);
  if (values.report !== undefined) writeFileSync(values.report, `${JSON.stringify(legs, null, 1)}\n`);
  await board?.close();
  await server.stop();
  if (values.keep === undefined) {
    if (process.exitCode && existsSync(log)) {
      const kept = join(tmpdir(), `treeline-board-console-${process.pid}.log`);
      copyFileSync(log, kept);
      say(`the whole console is in ${kept}`);
    }
    rmSync(folder, { recursive: true, force: true });
  }
}
process.exit();

async function main(): Promise<void> {
  rmSync(log, { force: true });
  enableForeignPrograms(kind.name);
  await server.start();
  const api = new Api(server);
  const path = join(folder, 'project');
  rmSync(path, { recursive: true, force: true });
  const project = new Project(path, system, values.job ? { trial: { faults: [] }, stamp: STAMP } : {});
  project.begin();
  const projects = await server.get<{ projects: { name: string }[] }>('/projects');
  if (projects.projects.every(({ name }) => name !== 'board')) {
    await server.post('/projects', { name: 'board', url: path, run: false });
  }
  if (values.job) await tryJobs({ server, api, project, legs }, { withFaults: !values['no-faults'] });
  else await updateBoard(api, project);
}

/** A board of the fleet: takes what is good, and leaves what is not. */
async function updateBoard(api: Api, project: Project): Promise<void> {
  const a = await timed('A is built: Debian, agent, boot loader, app', () => api.release('board'));
  await timed('its image is made and put on the board', () => flash(a.commit, project.channel));
  board = board!;
  const first = await leg(api, 'A boots', a.commit, async () => await board!.powerOn());
  assert.equal(first.current, a.commit);

  project.version('B');
  const b = await release(api, 'B');
  await leg(api, 'B', b, async () => {});
  if (values['only-good']) return;

  project.version('broken');
  await fallsBack(api, 'C1', { bad: await release(api, 'C1, whose check fails'), good: b, why: /10-app|broken/ });

  const initramfs = `usr/lib/modules/${kernelOf(a.run)}/initramfs.img`;
  project.version('B');
  project.breakFiles('C2', { [initramfs]: 'no initramfs at all\n' });
  await fallsBack(api, 'C2', { bad: await release(api, 'C2, whose kernel panics'), good: b, why: /./ });

  project.mend([initramfs]);
  project.breakFiles('C3', { 'usr/lib/systemd/systemd': 'no program at all\n' });
  await fallsBack(api, 'C3', { bad: await release(api, 'C3, whose init dies'), good: b, why: /./ });

  project.mend(['usr/lib/systemd/systemd']);
  project.version('D');
  const d = await release(api, 'D');
  const last = await leg(api, 'D', d, async () => {});
  assert.equal(last.state, 'good');
  assert.equal(last.badReleases.length, 3);
}

/** The kernel's version, which a job of the pipeline has noted. */
function kernelOf(run: RunDetail): string {
  const output = run.jobs.flatMap((job) => job.outputs).find(({ artifact }) => artifact.endsWith('kernel'));
  assert.ok(output, 'the pipeline notes the version of its kernel');
  const store = join(server.data, 'store');
  return execFileSync('ostree', [`--repo=${store}`, 'cat', output.commit, '/version'], { encoding: 'utf8' }).trim();
}

async function flash(commit: string, channel: string): Promise<void> {
  const file = await readBoardFile(kind.board);
  const token = await server.post<EnrolmentToken>('/enrolment-tokens', { channel });
  const gateway = new URL(token.gateway);
  board = await openBoard({
    ...{ name: DEVICE, drive: file.drive!, folder: join(folder, 'board'), log },
    network: { host: '127.0.0.1', port: Number(gateway.port) },
  });
  gateway.hostname = board.host!;
  const enrolment = { gateway: gateway.origin, token: token.token, id: DEVICE, channel, os: 'treeline' };
  const image = join(folder, 'system.img');
  const repo = join(server.data, 'repos/public');
  await makeRawImage(image, { repo, commit, board: file, enrolment: JSON.stringify(enrolment) });
  await board.flash(image);
  rmSync(image);
}

/** Publishes what was committed. */
async function release(api: Api, what: string): Promise<string> {
  const { commit } = await timed(`${what} is published`, () => api.release('board'));
  return commit;
}

/** Waits until the server has on record that the board runs a commit and is good. */
async function leg(api: Api, name: string, commit: string, begin: () => Promise<void>): Promise<DeviceDetail> {
  const start = await mark(api);
  await begin();
  const device = await until(`${name} is up and good`, api, (device) => {
    const states = name === 'A boots' ? ['idle', 'good'] : ['good'];
    return device.current === commit && states.includes(device.state ?? '');
  });
  note(name, commit, start, device);
  return device;
}

/** The board takes a release, comes back from it by itself, says why, and does not take it again. */
async function fallsBack(api: Api, name: string, o: { bad: string; good: string; why: RegExp }): Promise<void> {
  const start = await mark(api);
  const back = await until(`${name} is left by itself`, api, (device) => {
    return device.state === 'rolled-back' && device.rolledBackFrom === o.bad && device.current === o.good;
  });
  assert.match(back.reason ?? '', o.why, `${name}: ${back.reason}`);
  assert.ok(back.badReleases.some(({ commit }) => commit === o.bad));
  console.log(`    ${back.reason?.split('\n')[0]}`);
  note(name, o.bad, start, back);
  // Several looks at the server later it still runs what it ran, and has not begun again.
  const boots = board!.boots;
  const seen = Date.parse(back.lastSeen ?? '');
  const later = await until(
    `${name} is not taken again`,
    api,
    (device) => Date.parse(device.lastSeen ?? '') > seen + 10_000,
  );
  assert.equal(later.current, o.good);
  assert.equal(board!.boots, boots);
  assert.equal(installations(later, o.bad), installations(back, o.bad));
}

function installations(device: DeviceDetail, commit: string): number {
  return device.events.filter(({ type, target }) => type === 'EcuInstallationStarted' && target === commit).length;
}

interface Start {
  at: number;
  boots: number;
  events: ReadonlySet<string>;
}

async function mark(api: Api): Promise<Start> {
  const device = await api.device(DEVICE);
  return { at: Date.now(), boots: board!.boots, events: new Set(device?.events.map(({ id }) => id)) };
}

/** Adds a row of the table, from what the device reported. */
function note(name: string, commit: string, start: Start, device: DeviceDetail): void {
  const events = device.events.filter(({ id, target }) => !start.events.has(id) && target === commit);
  const reported = events.map(({ type, receivedAt, details }) => ({ type, at: Date.parse(receivedAt), details }));
  legs.push({
    ...{ name, target: commit, seconds: (Date.now() - start.at) / 1000 },
    ...legTimes(reported, start.at),
    ...{ sent: { requests: 0, bytes: 0 }, boots: board!.boots - start.boots, faults: [] },
  });
}

/** Looks at the server's record of the device until it is as it should be. */
async function until(what: string, api: Api, holds: (device: DeviceDetail) => boolean): Promise<DeviceDetail> {
  return await timed(what, async () => {
    const deadline = Date.now() + LIMIT_MS * patience;
    for (;;) {
      const device = await Promise.race([api.device(DEVICE), board!.trouble]);
      if (device && holds(device)) return device;
      if (Date.now() > deadline) {
        const seen = device ? JSON.stringify({ ...device, events: device.events.slice(0, 5) }, null, 1) : 'never seen';
        throw new Error(`not in time: ${what}; the server has: ${seen}`);
      }
      assert.ok(board!.isOn, 'the board switched itself off');
      await sleep(500);
    }
  });
}

function say(text: string): void {
  console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(7)} s  in all: ${text}`);
}
