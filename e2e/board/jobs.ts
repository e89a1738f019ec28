// `npm run e2e:board -- --job`: board jobs of a pipeline, on a board that QEMU really plays. What production runs, what a
// release waits for and how a job ended is read from the server's record alone.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Fault, LegReport, TrialReport } from '@treeline/board';
import type { CommitInfo, Release, RunDetail } from '@treeline/server';
import type { TreelineServer } from '../testing/treeline-server.ts';
import type { Api } from './api.ts';
import type { Project } from './project.ts';
import { timed } from './timed.ts';

const NAME = 'board';

const ALL_FAULTS: readonly Fault[] = ['full-disk', 'network-loss', 'power-cut'];

type Job = RunDetail['jobs'][number];

/** Where the jobs are seen, and what is told of them. */
export interface Lab {
  server: TreelineServer;
  api: Api;
  project: Project;
  /** Takes the legs of each job as they end. */
  legs: LegReport[];
}

/**
 * A release with nothing before it, a good one, one whose required check fails, and a good one on a board that suffers:
 * each goes out, or does not, as its board job ended.
 */
export async function tryJobs(lab: Lab, o: { withFaults: boolean }): Promise<void> {
  const { project } = lab;
  const a = await goesOut(lab, 'A', { over: null });
  project.version('B');
  const b = await goesOut(lab, 'B', { over: a });
  project.version('broken');
  await isHeldBack(lab, 'C, whose check fails', { production: b, why: /^bad \(forward\): .*broken/s });
  if (o.withFaults) {
    project.suffer(ALL_FAULTS);
    project.version('D');
    await goesOut(lab, 'D, on a board that suffers', { over: b, faults: ALL_FAULTS });
  }
  const { devices } = await lab.server.get<{ devices: unknown[] }>('/devices?lab=1');
  assert.deepEqual(devices, [], 'nothing is left of the devices of board jobs');
}

/** A release whose job ends well. Answers the commit that is released. */
async function goesOut(
  lab: Lab,
  name: string,
  { over, faults = [] }: { over: string | null; faults?: readonly Fault[] },
): Promise<string> {
  assert.equal(await released(lab), over);
  const run = await timed(`${name} is built, tried and published`, () => lab.api.run(NAME));
  const job = await jobOf(lab, run);
  assert.equal(run.state, 'passed', await whyOf(lab, run, job));
  const commit = systemOf(run);
  assert.equal(await released(lab), commit, `${name} is published`);

  assert.equal(job.outputs.length, 1, 'the report is an artifact');
  const made = job.outputs[0]!.commit;
  assert.deepEqual(await inputsOf(lab, made), { system: commit, ...(over === null ? {} : { over }) });
  const report = JSON.parse(fileOf(lab, made, 'report.json')) as TrialReport;
  lab.legs.push(...report.legs.map((leg) => ({ ...leg, name: `${name.slice(0, 1)} ${leg.name}` })));
  assert.deepEqual(report.verdict, { kind: 'good' });
  assert.deepEqual([report.candidate, report.production], [commit, over]);
  const forward = faults.includes('full-disk') ? ['full-disk', 'forward'] : ['forward'];
  assert.deepEqual(
    report.legs.map((leg) => [leg.name, leg.target]),
    over === null
      ? [['install', commit]]
      : [['install', over], ...forward.map((leg) => [leg, commit]), ['back', over], ['again', commit]],
  );
  for (const leg of report.legs) checkLeg(leg, faults);
  const console = fileOf(lab, made, 'console.log');
  assert.match(console, /Welcome to GRUB[\s\S]*login:/, 'the console is kept, from the boot loader on');
  assert.ok(console.includes(`booted ${commit.slice(0, 12)}`), 'and it is the console of this system');
  return commit;
}

/** What the board and the device say of a leg fits together. */
function checkLeg(leg: LegReport, faults: readonly Fault[]): void {
  const where = JSON.stringify(leg);
  if (leg.name === 'install' || leg.name === 'full-disk') {
    assert.equal(leg.boots, 1, where);
    return;
  }
  const suffered = leg.faults.map((text) => text.replace(/ while .*/, ''));
  const expected = leg.name === 'forward' ? faults.filter((fault) => fault !== 'full-disk') : [];
  assert.deepEqual(suffered.sort(), [...expected].sort(), where);
  for (const step of ['check', 'pull', 'stage', 'reboot', 'verify'] as const) {
    assert.ok(leg[step] !== null, `${step}: ${where}`);
  }
  assert.ok(leg.boots >= 1 && leg.boots <= 2 + suffered.length, where);
  // The board has the other release still: going back and forward again fetches little or nothing.
  if (leg.name === 'forward') assert.ok((leg.bytes ?? 0) > 0 && leg.sent.bytes > 0, where);
}

/** A release whose job ends as a system that is bad, and that therefore nobody gets. */
async function isHeldBack(lab: Lab, name: string, o: { production: string; why: RegExp }): Promise<void> {
  const run = await timed(`${name}, is built, tried and held back`, () => lab.api.run(NAME));
  const job = await jobOf(lab, run);
  assert.equal(run.state, 'failed', await whyOf(lab, run, job));
  assert.equal(job.state, 'failed');
  assert.equal(job.failure?.reason, 'board', `the system is to blame, not the board: ${await whyOf(lab, run, job)}`);
  assert.match(job.failure.message, o.why);
  assert.deepEqual(job.outputs, []);
  assert.deepEqual(
    run.publishes.map(({ state, channel }) => [state, channel]),
    [['impossible', lab.project.channel]],
  );
  assert.equal(await released(lab), o.production, 'the channel has what it had');
  for (const line of notesOf(await lab.api.log(job.executionId!)).slice(-3)) console.log(`    ${line}`);
}

async function jobOf({ api }: Lab, run: RunDetail): Promise<Job> {
  const job = run.jobs.find(({ kind }) => kind === 'board');
  if (job?.executionId) return job;
  throw new Error(`the board job was not begun: ${await whyOf({ api }, run, job)}`);
}

/** Why a run ended as it did, with the end of the log of what failed. */
async function whyOf({ api }: Pick<Lab, 'api'>, run: RunDetail, job: Job | undefined): Promise<string> {
  const failed = run.jobs.find(({ state }) => state === 'failed') ?? job;
  const why = failed?.failure?.message ?? failed?.waits ?? JSON.stringify(run.error ?? run.publishes);
  const log = failed?.executionId ? await api.log(failed.executionId) : '';
  return `the run is ${run.state}: ${failed?.id} ${why}\n${log.slice(-6000)}`;
}

/** What was done to the board, of a job's log. */
function notesOf(log: string): string[] {
  return [...log.matchAll(/^treeline: (.*)$/gm)].map(([, line]) => line!);
}

function systemOf(run: RunDetail): string {
  const output = run.jobs.flatMap((job) => job.outputs).find(({ artifact }) => artifact === 'system');
  assert.ok(output, 'the pipeline makes a system');
  return output.commit;
}

/** What production runs; null: nothing yet. */
async function released({ server, project }: Lab): Promise<string | null> {
  const query = new URLSearchParams({ channel: project.channel });
  const { releases } = await server.get<{ releases: Release[] }>(`/releases?${query}`);
  return releases.find(({ current }) => current)?.commit ?? null;
}

/** What the server says that an artifact was made from, by name. */
async function inputsOf({ server }: Lab, commit: string): Promise<Record<string, string>> {
  const { provenance } = await server.get<CommitInfo>(`/commits/${commit}`);
  return Object.fromEntries((provenance?.inputs ?? []).map(({ name, commit }) => [name, commit]));
}

function fileOf({ server }: Lab, commit: string, path: string): string {
  const argv = [`--repo=${join(server.data, 'store')}`, 'cat', commit, `/${path}`];
  return execFileSync('ostree', argv, { encoding: 'utf8', maxBuffer: 64 * 1024 ** 2 });
}
