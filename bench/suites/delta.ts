import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeSuperblock } from '@treeline/ostree';
import { buildReleases, type Release } from '../delta/releases.ts';
import { treeline } from '../engine/peers.ts';
import type { Bench, Command, Contender, Sample, Suite } from '../suite.ts';

export const suite: Suite = { title: "delta: `treeline repo static-delta` against Debian's `ostree`", run };

const generating = 'static delta between two releases';
const applying = 'apply that delta to a bare-user repository';
const bytes = 'bytes of that delta';

async function run(bench: Bench): Promise<void> {
  const { scratch, prepare, say } = bench;
  const peer = `ostree ${/Version: '?([\d.]+)/.exec(await prepare('ostree', '--version'))?.[1] ?? '?'}`;
  const releases = await buildReleases(bench, scratch);
  const repo = join(scratch, 'repo');
  await commitReleases(bench, repo, releases);
  const deltas = { ours: join(scratch, 'delta-ours'), theirs: join(scratch, 'delta-theirs') };
  const generate = (folder: string, ...more: string[]) =>
    [
      'static-delta',
      'generate',
      `--repo=${repo}`,
      '--from=old',
      '--to=new',
      `--filename=${join(folder, 'superblock')}`,
      ...more,
    ] as const;
  say('Generating …');
  const measured = await bench.measure({
    name: generating,
    peer,
    goal: 3,
    memory: true,
    // Minutes each, and all of it computing: more runs would say the same.
    runs: Math.min(bench.runs, 3),
    ours: { command: treeline(...generate(deltas.ours)), before: () => emptyFolder(deltas.ours) },
    theirs: { command: ['ostree', ...generate(deltas.theirs)], before: () => emptyFolder(deltas.theirs) },
    check: () => sameObjects(deltas),
  });
  if (measured) {
    const [ours, theirs] = [await deltaBytes(deltas.ours), await deltaBytes(deltas.theirs)];
    // 0.95 of ostree's bytes at most.
    bench.add({ measure: bytes, unit: 'MB', ours: ours / 1e6, theirs: theirs / 1e6, peer, goal: 1.053, runs: 1 });
    await addLimits(bench, releases, ours, measured.ours[0]!);
  }
  if (bench.wants(applying)) {
    const offline = join(scratch, 'delta-offline');
    await emptyFolder(offline);
    await bench.prepare(...treeline(...generate(offline, '--min-fallback-size=0')));
    await measureApplying(bench, peer, { repo, delta: offline });
  }
}

async function commitReleases({ prepare, say }: Bench, repo: string, releases: readonly Release[]): Promise<void> {
  await rm(repo, { recursive: true, force: true });
  await prepare('ostree', `--repo=${repo}`, 'init', '--mode=archive');
  for (const { name, folder } of releases) {
    say(`Committing the ${name} release …`);
    await prepare('ostree', `--repo=${repo}`, 'commit', `--branch=${name}`, `--tree=dir=${folder}`);
  }
}

async function emptyFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await mkdir(path);
}

async function superblock(folder: string) {
  return decodeSuperblock(await readFile(join(folder, 'superblock')));
}

/** Superblock, parts, and what it leaves to be fetched by itself. */
async function deltaBytes(folder: string): Promise<number> {
  let total = 0;
  for (const name of await readdir(folder)) total += (await stat(join(folder, name))).size;
  for (const { size } of (await superblock(folder)).fallbacks) total += size;
  return total;
}

/** Both deltas bring the same objects, each in its own way. */
async function sameObjects(deltas: { ours: string; theirs: string }): Promise<void> {
  const objects = async (folder: string) => {
    const { parts, fallbacks } = await superblock(folder);
    return [...parts.flatMap((part) => part.objects), ...fallbacks]
      .map(({ type, checksum }) => `${checksum}.${type}`)
      .sort()
      .join();
  };
  if ((await objects(deltas.ours)) !== (await objects(deltas.theirs))) {
    throw new Error('the deltas do not hold the same objects');
  }
}

/** What other programs make of the whole trees as one file each, which nobody could apply to a repository. */
async function addLimits(bench: Bench, [old, fresh]: readonly Release[], ours: number, sample: Sample): Promise<void> {
  const file = join(bench.scratch, 'whole.delta');
  const tools: [string, Command][] = [
    [
      'zstd -19 --patch-from',
      ['zstd', '-19', '-T0', '--long=31', '-qf', `--patch-from=${old!.tar}`, fresh!.tar, '-o', file],
    ],
    ['xdelta3 -9', ['xdelta3', '-9', '-e', '-f', '-B', '2000000000', '-s', old!.tar, fresh!.tar, file]],
  ];
  for (const [peer, command] of tools) {
    const measure = 'delta, distance to the limit';
    if (!bench.wants(measure)) return;
    bench.say(`${peer} of the whole trees …`);
    const { seconds, peakBytes } = await bench.run({ command });
    const size = (await stat(file)).size;
    const row = { measure, peer: `${peer}, whole trees`, goal: null, runs: 1 };
    bench.add({ ...row, unit: 'MB', ours: ours / 1e6, theirs: size / 1e6 });
    bench.add({ ...row, unit: 's', ours: sample.seconds, theirs: seconds });
    bench.add({ ...row, unit: 'MiB peak', ours: sample.peakBytes / 2 ** 20, theirs: peakBytes / 2 ** 20 });
    await rm(file);
  }
}

async function measureApplying(bench: Bench, peer: string, given: { repo: string; delta: string }): Promise<void> {
  const { prepare, scratch } = bench;
  const base = join(scratch, 'client-base');
  await rm(base, { recursive: true, force: true });
  await prepare('ostree', `--repo=${base}`, 'init', '--mode=bare-user');
  await prepare('ostree', `--repo=${base}`, 'pull-local', given.repo, 'old');
  const side = (name: string, program: (...args: string[]) => Command): Contender => {
    const client = join(scratch, name);
    return {
      command: program('static-delta', 'apply-offline', `--repo=${client}`, given.delta),
      before: async () => {
        await rm(client, { recursive: true, force: true });
        await prepare('cp', '-al', base, client);
      },
    };
  };
  await bench.measure({
    name: applying,
    peer,
    memory: true,
    runs: Math.min(bench.runs, 3),
    ours: side('client-ours', (...args) => treeline(...args)),
    theirs: side('client-theirs', (...args) => ['ostree', ...args]),
  });
}
