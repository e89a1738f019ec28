import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rename, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@treeline/ostree/testing/free-port.ts';
import { TreelineServer } from '../../e2e/testing/treeline-server.ts';
import type { Fixtures } from '../engine/fixtures.ts';
import { linkedCopy, ResultsDiffer } from '../engine/peers.ts';
import type { Bench, Command } from '../suite.ts';

const NEW = 'push a new commit';
const CHANGED = 'push a change of 20 files';

const cli = resolve(import.meta.dirname, '../../packages/cli/bin/treeline.js');

/**
 * A commit goes to a server, over loopback: by `treeline push`, which hashes each object on arrival, and by rsync of the
 * whole repository to an rsync daemon, which hashes nothing, followed by what makes it as durable (`sync -f`).
 */
export async function measurePush(fixtures: Fixtures): Promise<void> {
  const { bench } = fixtures;
  if (!bench.wants(NEW, CHANGED)) return;
  const from = fixtures.path('push-from');
  await linkedCopy(bench, await fixtures.committed(), from);
  const daemon = await startRsync(bench, fixtures.path('rsync'));
  const server = new TreelineServer(fixtures.path('push-server'));
  bench.atEnd(() => server.kill());
  const restart = async () => {
    await server.kill();
    await setAside(server.data);
    await server.start();
  };
  const rsync = (): Command => [
    'sh',
    '-c',
    'rsync -a --delete --exclude=/tmp --exclude=/.lock "$1/" "$2/" && sync -f "$3"',
    'sh',
    from,
    daemon.url,
    daemon.folder,
  ];
  // The server has its port when it has started once; it keeps it.
  await restart();
  const push = (ref: string): Command => [
    process.execPath,
    '--max-semi-space-size=4',
    cli,
    'push',
    server.url,
    ref,
    `--repo=${from}`,
    `--data=${server.data}`,
  ];
  const check = (ref: string) => async () => {
    const of = (repo: string) => bench.prepare('ostree', 'rev-parse', `--repo=${repo}`, ref);
    const [ours, theirs] = [await of(join(server.data, 'store')), await of(daemon.folder)];
    if (ours !== theirs) throw new ResultsDiffer(`${ref} is ${ours.trim()} and ${theirs.trim()}`);
  };
  await bench.measure({
    name: NEW,
    peer: 'rsync, then sync',
    goal: 1,
    memory: true,
    ours: { command: push('main'), before: restart },
    theirs: { command: rsync(), before: () => emptied(daemon.folder) },
    check: check('main'),
  });
  if (!bench.wants(CHANGED)) return;
  // Both have the commit before, measured or not.
  await bench.prepare(...push('main'));
  await bench.prepare(...rsync());
  let round = 0;
  await bench.measure({
    name: CHANGED,
    peer: 'rsync, then sync',
    goal: 5,
    ours: {
      command: push('changed'),
      // For both: theirs comes after it.
      before: async () => {
        round++;
        const overlay = await fixtures.overlay('push-overlay', await fixtures.someFiles(20), `round ${round}\n`);
        const trees = [round === 1 ? '--tree=ref=main' : '--tree=ref=changed', `--tree=dir=${overlay}`];
        await bench.prepare('ostree', 'commit', `--repo=${from}`, '-b', 'changed', '-s', `round ${round}`, ...trees);
      },
    },
    theirs: { command: rsync() },
    check: check('changed'),
  });
}

async function emptied(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await setAside(folder);
  await mkdir(folder);
}

/** Deleting 50,000 files right before would be paid by the next run: ext4 searches long for inodes that were not just freed. */
async function setAside(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await rename(folder, join(await mkdtemp(`${folder}-before-`), 'data'));
}

/** An rsync daemon of one's own on loopback that takes in one folder, until the suite ends. */
async function startRsync(bench: Bench, place: string): Promise<{ url: string; folder: string }> {
  const folder = join(place, 'repo');
  await emptied(folder);
  const port = await freePort();
  const configuration = join(place, 'rsyncd.conf');
  await writeFile(
    configuration,
    `address = 127.0.0.1\nport = ${port}\nuse chroot = no\nuid = root\ngid = root\n[repo]\npath = ${folder}\nread only = no\n`,
  );
  const daemon = spawn('rsync', ['--daemon', '--no-detach', `--config=${configuration}`], { stdio: 'inherit' });
  bench.atEnd(async () => {
    if (daemon.exitCode !== null) return;
    const ended = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    await ended;
  });
  for (let tries = 0; tries < 100; tries++) {
    if (await answers(port)) break;
    await sleep(50);
  }
  return { url: `rsync://127.0.0.1:${port}/repo`, folder };
}

function answers(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => done(true)).once('error', () => done(false));
    socket.once('connect', () => socket.destroy());
  });
}
