import type { Fixtures } from './fixtures.ts';
import { type Arguments, assertSameObjects, assertSameTree, newRepository, ostree, treeline } from './peers.ts';

/** Both from Treeline's own server, in a process of its own: the same for both. */
export async function measurePulls(fixtures: Fixtures): Promise<void> {
  const { bench, peer } = fixtures;
  for (const mode of ['archive', 'bare-user']) {
    const name = `pull over loopback HTTP into ${mode}`;
    if (!bench.wants(name)) continue;
    const remote = await fixtures.serve(await fixtures.committed());
    const repositories = [fixtures.path('pulled-ours'), fixtures.path('pulled-theirs')] as const;
    const [ours, theirs] = repositories;
    const pull: Arguments = (into) => ['pull', `--repo=${into}`, 'origin', 'main'];
    await bench.measure({
      name,
      peer,
      goal: 1.5,
      memory: true,
      ours: { command: treeline(...pull(ours)), before: () => newRepository(bench, ours, { mode, remote }) },
      theirs: { command: ostree(...pull(theirs)), before: () => newRepository(bench, theirs, { mode, remote }) },
      check: async () => {
        await assertSameTree(bench, 'origin:main', repositories);
        await assertSameObjects(bench, repositories);
      },
    });
  }
}
