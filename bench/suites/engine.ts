import { measureCommits } from '../engine/commits.ts';
import { Fixtures } from '../engine/fixtures.ts';
import { measureLargeFile } from '../engine/large-file.ts';
import { measurePulls } from '../engine/pulls.ts';
import { measureTrees } from '../engine/trees.ts';
import { measureUpkeep } from '../engine/upkeep.ts';
import type { Bench, Suite } from '../suite.ts';

export const suite: Suite = { title: "engine: `treeline repo` against Debian's `ostree`", run };

async function run(bench: Bench): Promise<void> {
  const version = await bench.prepare('ostree', '--version');
  const fixtures = new Fixtures(bench, `ostree ${/Version: '?([\d.]+)/.exec(version)?.[1] ?? '?'}`);
  // What reads the tree as it was gathered comes before the commits, of which the last changes files of it.
  await measureTrees(fixtures);
  await measurePulls(fixtures);
  await measureUpkeep(fixtures);
  await measureCommits(fixtures);
  await measureLargeFile(fixtures);
}
