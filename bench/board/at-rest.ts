import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { buildAgentLayer } from '@treeline/agent';
import type { EnrolmentToken } from '@treeline/server';
import type { TreelineServer } from '../../e2e/testing/treeline-server.ts';
import type { Bench } from '../suite.ts';

const run = promisify(execFile);
const MOST_MB = 60;
const LOOK_MS = 1000;
/** The kernel's unit of processor time in /proc, for every architecture that Debian has. */
const TICKS_PER_SECOND = 100;

/**
 * What the agent takes on a device that has nothing to do: the bundle, under Debian 12's version of Node, with the settings
 * that it comes with, against a real gateway, after it has taken a release.
 */
export async function measureAtRest(
  bench: Bench,
  { server, channel }: { server: TreelineServer; channel: string },
): Promise<void> {
  const seconds = bench.small ? 20 : 600;
  const layer = join(bench.scratch, 'layer');
  await buildAgentLayer(layer);
  // The folder may be in this clone, whose package.json makes modules of its files.
  await writeFile(join(bench.scratch, 'package.json'), '{}\n');
  const node = join(dirname(createRequire(import.meta.url).resolve('node-18/package.json')), 'bin');
  const env = { ...process.env, PATH: `${node}:${process.env.PATH ?? ''}` };
  const program = join(layer, 'usr/bin/treeline-agent');
  const board = ['--board', join(bench.scratch, 'device')];
  const { gateway, token } = await server.post<EnrolmentToken>('/enrolment-tokens', { channel });
  const identity = ['--id', 'at-rest', '--sysroot', join(bench.scratch, 'device/root'), '--os', 'treeline'];
  await run(program, ['enrol', '--gateway', gateway, '--token', token, ...identity, ...board], { env });
  // Deployments cannot be changed, not even deleted, before that.
  const deployments = join(bench.scratch, 'device/root/ostree/deploy');
  bench.atEnd(async () => void (await run('chattr', ['-R', '-f', '-i', deployments]).catch(() => {})));
  bench.say('lets an agent take the release in a folder');
  await run(program, ['run', '--once', ...board], { env });

  const agent = spawn(program, ['run', ...board], { env, stdio: 'ignore' });
  bench.atEnd(() => end(agent));
  bench.say(`looks at an agent at rest for ${seconds} s`);
  // Starting and checking the health of what runs is not rest.
  await sleep(10_000);
  const before = cpuSeconds(agent.pid!);
  let most = 0;
  for (let looks = 0; looks * LOOK_MS < seconds * 1000; looks++) {
    await sleep(LOOK_MS);
    most = Math.max(most, residentMiB(agent.pid!));
  }
  const spent = cpuSeconds(agent.pid!) - before;
  await end(agent);
  const row = (measure: string, unit: string, ours: number) =>
    bench.add({ measure, unit, ours, theirs: null, peer: 'none', goal: null, runs: 1 });
  row(`agent at rest for ${seconds} s, processor time`, 's', spent);
  row('agent at rest, most memory', 'MiB', most);
  bench.remark(`the agent is to take at most ${MOST_MB} MB at rest; it looked at the server every 60 s`);
}

function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // User and system time are fields 14 and 15, those of ended children 16 and 17; the second field is a name that may
  // hold spaces, in brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_SECOND;
}

function residentMiB(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kilobytes) / 1024;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}
