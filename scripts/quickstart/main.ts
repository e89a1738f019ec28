// `npm run quickstart`: the whole way from a git push to a device that has updated itself, on this machine, with
// the real parts. It starts from nothing each time, in .quickstart/, and tells what it does.
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Device, Release, Run, RunDetail } from '@treeline/server';
import { createRepository, projects, pushChange, type Repository } from './repositories.ts';
import { chapter, command, elapsedSeconds, paint, quote, tell } from './story.ts';
import { execute, Treeline } from './treeline.ts';

const keep = process.argv.includes('--keep');
const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = join(root, '.quickstart');
const data = join(folder, 'data');
const board = join(folder, 'board');
const serverLog = join(folder, 'server.log');
const treeline = new Treeline(data);
const CHANNEL = 'robot/edge';

process.chdir(root);
try {
  await main();
} catch (error) {
  process.stdout.write(
    `\n${paint('red', 'The quickstart stopped:')} ${error instanceof Error ? error.message : String(error)}\n`,
  );
  tell(
    `Logs: ${relative(root, serverLog)}, ${relative(root, join(data, 'logs'))}/   Run it again when the cause is mended: npm run quickstart`,
  );
  process.exitCode = 1;
}

async function main(): Promise<void> {
  stopEarlierServer();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });

  chapter('A server on this machine');
  const server = await startServer();
  let finished = false;
  try {
    const repositories = await addProjects();
    await firstRelease();
    await firstBoard();
    await goodChange(repositories);
    await badModel(repositories);
    await difference();
    finished = true;
  } finally {
    if (keep && finished) server.unref();
    else await stop(server);
  }
  next();
}

type Server = ReturnType<Treeline['start']>;

async function startServer(): Promise<Server> {
  const args = ['up', '--poll', '1', '--emulate', 'gpu,aarch64'];
  let server = treeline.start(args, serverLog);
  command(`treeline ${args.join(' ')} --data ${relative(root, data)}`);
  let said = await answer(server);
  if (server.exitCode !== null && /in use|listens on/i.test(said)) {
    tell('Its usual ports are taken: it takes free ones.');
    server = treeline.start([...args, '--port', '0', '--gateway-port', '0'], serverLog);
    said = await answer(server);
  }
  if (server.exitCode !== null) throw new Error(said);
  quote(said.split('\n\n')[0]!);
  // It is in a process group of its own, so a Ctrl-C or a closed terminal reaches only us.
  for (const [signal, code] of [
    ['SIGHUP', 129],
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => void stop(server).then(() => process.exit(code)));
  }
  return server;
}

/** Waits until the server says that it is up, or ends. Returns what it said. */
async function answer(server: Server): Promise<string> {
  for (let tries = 0; tries < 300; tries++) {
    await sleep(100);
    const said = readFileSync(serverLog, 'utf8');
    if (server.exitCode !== null || said.includes('Ctrl-C stops it')) return said;
  }
  await stop(server);
  throw new Error(`the server does not come up:\n${readFileSync(serverLog, 'utf8')}`);
}

async function stop(server: Server): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const exited = once(server, 'exit');
  server.kill('SIGTERM');
  await exited;
}

/** A server that an earlier `--keep` left: it belongs to the folder that is about to be removed. */
function stopEarlierServer(): void {
  const file = join(data, 'server.json');
  if (!existsSync(file)) return;
  const { pid } = JSON.parse(readFileSync(file, 'utf8')) as { pid: number };
  const { stdout } = spawnSync('ps', ['-o', 'args=', '-p', String(pid)], { encoding: 'utf8' });
  if (!stdout.includes(data)) return;
  process.kill(pid, 'SIGTERM');
  for (let tries = 0; tries < 100 && existsSync(`/proc/${pid}`); tries++) spawnSync('sleep', ['0.1']);
}

async function addProjects(): Promise<Map<string, Repository>> {
  chapter('Four git repositories: tool images, app, model, system');
  tell('Each has a treeline.yaml that says what its jobs take in and make.');
  const repositories = new Map<string, Repository>();
  for (const project of projects) repositories.set(project, await createRepository(join(folder, 'git'), project));
  for (const { project, origin } of repositories.values()) {
    const result = await treeline.show('project', 'add', relative(root, origin));
    if (result.status !== 0) throw new Error(`project ${project} could not be added`);
  }
  return repositories;
}

async function firstRelease(): Promise<void> {
  chapter('Their pipelines run; every input and output is a commit in one store');
  tell('A tool image and a base system are built from Debian packages, the app is');
  tell('tested, a neural network is trained and judged, and all of it is composed');
  tell('into a system, which is tested in its turn.');
  const run = await newestRun();
  await watch(run.id);
  const [release] = await releases();
  if (!release) throw new Error('nothing was published');
  chapter(`Release ${release.number} on channel ${CHANNEL}: an OSTree repository like any other`);
  const url = `${serverUrl()}/repos/public`;
  command(`ostree remote add --no-gpg-verify treeline ${url} && ostree pull treeline ${CHANNEL}`);
  quote(await pullWithOstree(url));
}

function serverUrl(): string {
  return (JSON.parse(readFileSync(join(data, 'server.json'), 'utf8')) as { url: string }).url;
}

function gatewayUrl(): string {
  return (JSON.parse(readFileSync(join(data, 'server.json'), 'utf8')) as { gateway: string }).gateway;
}

/** The stock client, to show that it needs nothing from us. */
async function pullWithOstree(url: string): Promise<string> {
  const repo = join(folder, 'ostree-client');
  const steps = [
    ['init', '--mode=archive'],
    ['remote', 'add', '--no-gpg-verify', 'treeline', url],
    ['pull', 'treeline', CHANNEL],
    ['fsck'],
  ];
  let last = '';
  let said = '';
  for (const [verb, ...rest] of steps) {
    const result = await execute('ostree', [verb!, `--repo=${repo}`, ...rest]);
    if (result.status !== 0) throw new Error(`ostree ${verb}: ${result.stderr}`);
    last = result.stdout
      .trim()
      .split(/[\r\n]/)
      .at(-1)!
      .trim();
    if (last && verb !== 'init') said += `${last}\n`;
  }
  return said;
}

async function firstBoard(): Promise<void> {
  chapter('A virtual board: a folder that plays a device');
  const grant = await treeline.json<{ token: string }>('devices', 'enrol-token', '--channel', CHANNEL);
  command(`treeline devices enrol-token --channel ${CHANNEL}`);
  quote(`${grant.token.slice(0, 24)}…`);
  const where = relative(root, board);
  command(`treeline agent enrol --board ${where} --gateway ${gatewayUrl()} --id robot-1 --token …`);
  const enrolled = await treeline.ask(
    'agent',
    'enrol',
    '--board',
    board,
    '--gateway',
    gatewayUrl(),
    '--id',
    'robot-1',
    '--token',
    grant.token,
  );
  quote(enrolled.stdout + enrolled.stderr);
  if (enrolled.status !== 0) throw new Error('the board could not be enrolled');
  await boardUpdate(0);
}

async function boardUpdate(expected: 0 | 1): Promise<void> {
  const result = await treeline.show('agent', 'run', '--once', '--board', relative(root, board));
  if (result.status !== expected) throw new Error(`the agent ended with ${result.status}, not ${expected}`);
}

async function goodChange(repositories: Map<string, Repository>): Promise<void> {
  chapter('A push to the app: only what depends on it runs again');
  await push(repositories.get('app')!, 'app-change');
  tell('The board fetches the objects that changed, and no others:');
  await boardUpdate(0);
}

async function badModel(repositories: Map<string, Repository>): Promise<void> {
  chapter('A bad model, good on paper: the board goes back by itself');
  await push(repositories.get('model')!, 'bad-model');
  await boardUpdate(1);
  await treeline.show('devices');
  const devices = await treeline.json<{ devices: Device[] }>('devices');
  const robot = devices.devices.find(({ id }) => id === 'robot-1');
  if (robot?.state !== 'rolled-back') throw new Error(`robot-1 is ${robot?.state ?? 'missing'}, not rolled back`);
}

async function push(repository: Repository, change: 'app-change' | 'bad-model'): Promise<void> {
  const before = await newestRun();
  const subject = await pushChange(repository, change);
  command(`git commit -m '${subject}' && git push`);
  let run = before;
  for (let tries = 0; run.id === before.id; tries++) {
    if (tries > 100) throw new Error('the push started no run');
    await sleep(200);
    run = await newestRun();
  }
  await watch(run.id);
}

async function difference(): Promise<void> {
  chapter('What exactly is different between two releases?');
  const all = await releases();
  const [first, second] = [all.at(-1), all.at(-2)];
  if (!first || !second) throw new Error('there are not two releases');
  await treeline.show('diff', String(first.number), String(second.number));
}

async function newestRun(): Promise<Run> {
  const { runs } = await treeline.json<{ runs: Run[] }>('runs');
  if (!runs[0]) throw new Error('no run has started');
  return runs[0];
}

async function releases(): Promise<Release[]> {
  return (await treeline.json<{ releases: Release[] }>('release', 'list', CHANNEL)).releases;
}

/** Tells a run as it goes: a line for each job when it ends, then what was reused and why the others ran. */
async function watch(id: string): Promise<void> {
  const told = new Set<string>();
  for (;;) {
    const run = await treeline.json<RunDetail>('status', id);
    for (const job of run.jobs) {
      if (told.has(job.id) || job.finishedAt === null || job.reused) continue;
      told.add(job.id);
      const seconds = job.durationMs === null ? '' : `${(job.durationMs / 1000).toFixed(1)} s`;
      const mark = job.state === 'passed' ? paint('green', '✔') : paint('red', '✖');
      tell(`${mark} ${job.id.padEnd(24)} ${job.state.padEnd(8)} ${seconds}`);
    }
    if (run.finishedAt !== null) {
      const reused = run.jobs.filter((job) => job.reused).map((job) => job.id);
      if (reused.length > 0) tell(`${paint('dim', '=')} reused: ${reused.join(', ')}`);
      if (run.state !== 'passed') {
        await treeline.show('status', String(run.number));
        throw new Error(`run ${run.number} ${run.state}`);
      }
      if (told.size < run.jobs.length && reused.length > 0) await treeline.show('status', String(run.number));
      return;
    }
    await sleep(300);
  }
}

function next(): void {
  const at = `--data ${relative(root, data)}`;
  chapter(`Done in ${elapsedSeconds().toFixed(0)} seconds. Five things to try next`);
  if (keep) tell('The server goes on; another `npm run quickstart` stops it.');
  const commands = [
    ...(keep ? [] : [`npx treeline up ${at} &`]),
    `npx treeline status ${at}`,
    `npx treeline devices show robot-1 ${at}`,
    `npx treeline logs model/train ${at}`,
    `npx treeline checkout ${CHANNEL} /tmp/robot ${at}`,
    ...(keep ? [`npx treeline show ${CHANNEL} ${at}`] : []),
  ];
  for (const line of commands) command(line);
  process.stdout.write('\n');
}
