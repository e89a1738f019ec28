import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { median } from '../statistics.ts';
import type { Bench, Measured } from '../suite.ts';
import { append, type Fixtures } from './fixtures.ts';
import { type Arguments, assertSameTree, newRepository, ostree, treeline } from './peers.ts';

const NEW = 'commit into a new archive repository';
const UNCHANGED = 'commit again, nothing changed';
const CHANGED = 'commit again, 200 files changed';
const LIMIT = 'commit, distance to the limit';
const SIZE = 'size of the committed repository';

export async function measureCommits(fixtures: Fixtures): Promise<void> {
  const { bench, peer } = fixtures;
  if (!bench.wants(NEW, UNCHANGED, CHANGED, LIMIT, SIZE)) return;
  const tree = await fixtures.tree();
  const repositories = [fixtures.path('ours'), fixtures.path('theirs')] as const;
  const [ours, theirs] = repositories;
  const commit: Arguments = (into) => [
    'commit',
    `--repo=${into}`,
    '--branch=main',
    '--subject=A real tree',
    `--tree=dir=${tree.path}`,
  ];
  const check = () => assertSameTree(bench, 'main', repositories);

  const measured = await bench.measure({
    name: NEW,
    peer,
    goal: 3,
    memory: true,
    ours: { command: treeline(...commit(ours)), before: () => newRepository(bench, ours) },
    theirs: { command: ostree(...commit(theirs)), before: () => newRepository(bench, theirs) },
    check,
  });
  if (measured) {
    await addSizes(bench, repositories, peer);
    await addLimits(bench, tree.path, measured);
  }
  if (!bench.wants(UNCHANGED, CHANGED)) return;
  if (!measured) {
    bench.say('Committing the tree with both, unmeasured …');
    for (const path of repositories) await newRepository(bench, path);
    await bench.prepare(...treeline(...commit(ours)));
    await bench.prepare(...ostree(...commit(theirs)));
  }
  await bench.measure({
    name: UNCHANGED,
    peer,
    goal: 100,
    memory: true,
    ours: { command: treeline(...commit(ours)) },
    theirs: { command: ostree(...commit(theirs)) },
    check,
  });

  const files = await fixtures.someFiles(200);
  let round = 0;
  await bench.measure({
    name: CHANGED,
    peer,
    goal: 50,
    memory: true,
    ours: {
      command: treeline(...commit(ours)),
      // For both: theirs comes after it, and the trees have to be the same.
      before: async () => {
        round++;
        for (const file of files) await append(join(tree.path, file), `round ${round}\n`);
      },
    },
    theirs: { command: ostree(...commit(theirs)) },
    check,
  });
}

/** Speed bought with worse compression would not be speed: what the repositories weigh belongs beside it. */
async function addSizes(bench: Bench, repositories: readonly [string, string], peer: string): Promise<void> {
  const bytes = async (path: string) =>
    Number((await bench.prepare('du', '-s', '-b', join(path, 'objects'))).split('\t')[0]);
  const [ours, theirs] = await Promise.all(repositories.map(bytes));
  bench.add({ measure: SIZE, unit: 'MB', ours: ours! / 1e6, theirs: theirs! / 1e6, peer, goal: null, runs: 1 });
}

/** How far the commit is from the least work that it could be. A ratio of 1 is the limit itself. */
async function addLimits(bench: Bench, tree: string, commit: Measured): Promise<void> {
  const script = resolve(import.meta.dirname, '../limit.ts');
  const ours = commit.ours.map((sample) => sample.seconds);
  for (const kind of ['sha256', 'sha256+deflate']) {
    const theirs: number[] = [];
    for (let i = 0; i < Math.min(3, bench.runs); i += 1) {
      theirs.push((await bench.run({ command: [process.execPath, script, tree, kind] })).seconds);
    }
    bench.say(`limit ${kind}: ${median(theirs).toFixed(2)} s`);
    bench.add({
      measure: LIMIT,
      unit: 's',
      ours: median(ours),
      theirs: median(theirs),
      peer: `${kind} only, Node, ${availableParallelism()} threads`,
      goal: null,
      runs: theirs.length,
      samples: { ours, theirs },
    });
  }
}
