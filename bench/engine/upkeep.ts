import { cp, rm } from 'node:fs/promises';
import { type Fixtures, touchRef } from './fixtures.ts';
import { assertSameObjects, linkedCopy, ostree, ResultsDiffer, treeline } from './peers.ts';

const PRUNE = 'prune after deleting half of the refs';
const SUMMARY = 'summary with 1,000 refs after one change';

export async function measureUpkeep(fixtures: Fixtures): Promise<void> {
  if (fixtures.bench.wants(PRUNE)) await measurePrune(fixtures);
  if (fixtures.bench.wants(SUMMARY)) await measureSummary(fixtures);
}

async function measurePrune(fixtures: Fixtures): Promise<void> {
  const { bench, peer } = fixtures;
  const count = bench.small ? 4 : 20;
  const from = await fixtures.branches(count);
  const repositories = [fixtures.path('pruned-ours'), fixtures.path('pruned-theirs')] as const;
  const [ours, theirs] = repositories;
  const before = (path: string) => async () => {
    await linkedCopy(bench, from, path);
    for (let index = 0; index < count; index += 2) {
      await bench.prepare('ostree', 'refs', `--repo=${path}`, '--delete', `branch/${index}`);
    }
  };
  const prune = (path: string) => ['prune', `--repo=${path}`, '--refs-only'];
  await bench.measure({
    name: PRUNE,
    peer,
    goal: 2,
    memory: true,
    ours: { command: treeline(...prune(ours)), before: before(ours) },
    theirs: { command: ostree(...prune(theirs)), before: before(theirs) },
    check: () => assertSameObjects(bench, repositories),
  });
}

async function measureSummary(fixtures: Fixtures): Promise<void> {
  const { bench, peer } = fixtures;
  const from = await fixtures.refs(bench.small ? 50 : 1000);
  const [ours, theirs] = [fixtures.path('summary-ours'), fixtures.path('summary-theirs')];
  for (const path of [ours, theirs]) {
    await rm(path, { recursive: true, force: true });
    await cp(from, path, { recursive: true });
  }
  const update = (path: string) => ['summary', `--repo=${path}`, '--update'];
  await bench.prepare(...treeline(...update(ours)));
  await bench.prepare(...ostree(...update(theirs)));
  const round = { ours: 0, theirs: 0 };
  const change = (side: 'ours' | 'theirs', path: string) => async () => {
    round[side]++;
    await touchRef(path, 'app/number-7/stable', `round ${round[side]}`);
  };
  await bench.measure({
    name: SUMMARY,
    peer,
    goal: 10,
    memory: true,
    runs: Math.max(bench.runs, bench.small ? 1 : 11),
    ours: { command: treeline(...update(ours)), before: change('ours', ours) },
    theirs: { command: ostree(...update(theirs)), before: change('theirs', theirs) },
    check: async () => {
      const refs = async (path: string) => {
        const text = await bench.prepare('ostree', 'summary', `--repo=${path}`, '--view');
        return text
          .split('\n')
          .filter((line) => /^(\* |\s+[0-9a-f]{64}$)/.test(line))
          .join('\n');
      };
      const [a, b] = [await refs(ours), await refs(theirs)];
      if (a !== b) throw new ResultsDiffer('the summaries list other refs or commits');
    },
  });
}
