import { randomFillSync } from 'node:crypto';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Contender } from '../suite.ts';
import type { Fixtures } from './fixtures.ts';
import { newRepository, ostree, treeline } from './peers.ts';

const MEBIBYTE = 2 ** 20;
/** What no operation may take, whatever the size of a file. */
const LIMIT_BYTES = 400e6;

/** Memory of what goes through one file of 4 GiB. Once: memory does not vary as time does, and it takes minutes. */
export async function measureLargeFile(fixtures: Fixtures): Promise<void> {
  const { bench, peer } = fixtures;
  const size = bench.small ? 32 * MEBIBYTE : 4096 * MEBIBYTE;
  const text = bench.small ? '32 MiB' : '4 GiB';
  const names = {
    commit: `memory: commit of a ${text} file`,
    pull: `memory: pull of a ${text} file over HTTP`,
    fsck: `memory: fsck of a ${text} file`,
    checkout: `memory: checkout of a ${text} file`,
  };
  if (!bench.wants(...Object.values(names))) return;
  const folder = fixtures.path('large');
  bench.say(`Writing a file of ${text} …`);
  await mkdir(folder, { recursive: true });
  await writeLargeFile(join(folder, 'file'), size);
  const repositories = { ours: fixtures.path('large-ours'), theirs: fixtures.path('large-theirs') };
  const pulled = { ours: fixtures.path('large-pulled-ours'), theirs: fixtures.path('large-pulled-theirs') };
  const out = { ours: fixtures.path('large-out-ours'), theirs: fixtures.path('large-out-theirs') };
  for (const path of Object.values(repositories)) await newRepository(bench, path);
  const both = (args: (side: 'ours' | 'theirs') => string[]) =>
    [{ command: treeline(...args('ours')) }, { command: ostree(...args('theirs')) }] as const;

  const compare = async (name: string, [ours, theirs]: readonly [Contender, Contender]): Promise<void> => {
    if (!bench.wants(name)) {
      // What comes next needs what this makes.
      await bench.run(ours);
      await bench.run(theirs);
      return;
    }
    const [a, b] = [await bench.run(ours), await bench.run(theirs)];
    bench.say(
      `${name}: ${(a.peakBytes / MEBIBYTE).toFixed(0)} MiB, ${peer} ${(b.peakBytes / MEBIBYTE).toFixed(0)} MiB`,
    );
    const row = { measure: name, unit: 'MiB peak', ours: a.peakBytes / MEBIBYTE, runs: 1 };
    bench.add({ ...row, theirs: LIMIT_BYTES / MEBIBYTE, peer: 'limit of 400 MB', goal: 1 });
    bench.add({ ...row, theirs: b.peakBytes / MEBIBYTE, peer, goal: null });
    bench.add({ measure: name, unit: 's', ours: a.seconds, theirs: b.seconds, peer, goal: null, runs: 1 });
  };

  await compare(
    names.commit,
    both((side) => ['commit', `--repo=${repositories[side]}`, '-b', 'large', `--tree=dir=${folder}`]),
  );
  await rm(folder, { recursive: true, force: true });
  if (bench.wants(names.fsck)) {
    await compare(
      names.fsck,
      both((side) => ['fsck', '--quiet', `--repo=${repositories[side]}`]),
    );
  }
  if (bench.wants(names.pull, names.checkout)) {
    const remote = await fixtures.serve(repositories.theirs);
    for (const path of Object.values(pulled)) await newRepository(bench, path, { mode: 'bare-user', remote });
    await compare(
      names.pull,
      both((side) => ['pull', `--repo=${pulled[side]}`, 'origin', 'large']),
    );
  }
  if (bench.wants(names.checkout)) {
    await compare(
      names.checkout,
      both((side) => ['checkout', `--repo=${repositories.theirs}`, '--user-mode', 'large', out[side]]),
    );
  }
  for (const path of [repositories, pulled, out].flatMap((sides) => Object.values(sides))) {
    await rm(path, { recursive: true, force: true });
  }
}

/** Blocks that begin with noise and go on with zeros: to an eighth compressible, so that the disk is not what decides. */
async function writeLargeFile(path: string, size: number): Promise<void> {
  const block = Buffer.alloc(4 * MEBIBYTE);
  randomFillSync(block, 0, block.length / 8);
  const handle = await open(path, 'w');
  try {
    for (let at = 0; at < size; at += block.length) {
      block.writeUInt32LE(at / block.length, 0);
      block.writeUInt32LE(at / block.length, block.length / 2);
      await handle.write(block);
    }
  } finally {
    await handle.close();
  }
}
