import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Fixtures } from '../engine/fixtures.ts';
import { median } from '../statistics.ts';

const FLIP = 'publish flip, 1,000 refs and 1,000 deltas';

/**
 * What a server does from the moment that a release is ready (objects and deltas are there) until clients see it: the
 * ref, the delta index, the summary. Beside it what `ostree summary -u` alone takes, which is how one publishes with
 * libostree. Both on a repository of the same kind; the server is a process that is there already, as it is in life.
 */
export async function measureFlip(fixtures: Fixtures): Promise<void> {
  const { bench, peer } = fixtures;
  if (!bench.wants(FLIP)) return;
  const count = bench.small ? 20 : 1000;
  const runs = Math.max(bench.runs, bench.small ? 2 : 11);
  const script = resolve(import.meta.dirname, 'flip-process.ts');
  bench.say(`Making a repository of ${count} refs and ${count} deltas …`);
  const [ours, theirs] = [fixtures.path('flip-ours'), fixtures.path('flip-theirs')];
  for (const path of [ours, theirs]) await rm(path, { recursive: true, force: true });
  await bench.prepare(process.execPath, script, 'make', ours, String(count));
  await bench.prepare('cp', '-a', ours, theirs);
  const printed = await bench.prepare(process.execPath, script, 'flip', ours, String(runs));
  const flips = JSON.parse(printed) as number[];
  const updates: number[] = [];
  for (let run = 0; run < runs; run++) {
    await bench.prepare(process.execPath, script, 'change', theirs, String(run));
    updates.push((await bench.run({ command: ['ostree', 'summary', `--repo=${theirs}`, '--update'] })).seconds);
  }
  bench.add({
    measure: FLIP,
    unit: 's',
    ours: median(flips),
    theirs: median(updates),
    peer: `${peer}, summary -u alone`,
    goal: 10,
    runs,
    samples: { ours: flips, theirs: updates },
  });
}
