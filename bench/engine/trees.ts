import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Fixtures } from './fixtures.ts';
import { type Arguments, ostree, ResultsDiffer, treeline } from './peers.ts';

const DIFF = 'diff of two commits, 20 files changed';
const FSCK = 'fsck';
const CHECKOUT = 'checkout, hard-linked';

export async function measureTrees(fixtures: Fixtures): Promise<void> {
  const { bench, peer } = fixtures;
  if (bench.wants(DIFF)) {
    const diff = ['diff', `--repo=${await fixtures.changed()}`, 'main', 'changed'];
    await bench.measure({
      name: DIFF,
      peer,
      goal: 5,
      memory: true,
      // Milliseconds: more runs cost nothing and steady the median.
      runs: Math.max(bench.runs, bench.small ? 1 : 11),
      ours: { command: treeline(...diff) },
      theirs: { command: ostree(...diff) },
      check: async (ours, theirs) => {
        if (ours.stdout !== theirs.stdout) throw new ResultsDiffer(`diff says\n${ours.stdout}\nand\n${theirs.stdout}`);
      },
    });
  }

  if (bench.wants(FSCK)) {
    const fsck = ['fsck', '--quiet', `--repo=${await fixtures.committed()}`];
    await bench.measure({
      name: FSCK,
      peer,
      goal: 2,
      memory: true,
      ours: { command: treeline(...fsck) },
      theirs: { command: ostree(...fsck) },
    });
  }

  if (bench.wants(CHECKOUT)) {
    const from = await fixtures.bareUser();
    const [ours, theirs] = [fixtures.path('out-ours'), fixtures.path('out-theirs')];
    const checkout: Arguments = (into) => ['checkout', `--repo=${from}`, '--user-mode', 'main', into];
    // Nothing is deleted until the end: for some minutes ext4 gives no inode out again, and each that is made searches
    // past all that were just freed, which takes longer than the checkout.
    const aside: string[] = [];
    const remove = (path: string) => async () => {
      const moved = `${path}-${aside.length}`;
      await rename(path, moved).then(() => aside.push(moved), ignoreMissing);
    };
    await bench.measure({
      name: CHECKOUT,
      peer,
      goal: 1,
      memory: true,
      ours: { command: treeline(...checkout(ours)), before: remove(ours) },
      theirs: { command: ostree(...checkout(theirs)), before: remove(theirs) },
      check: async () => {
        // Type, permissions, size, links and target of everything; empty files may be linked or not.
        const list = (path: string) =>
          bench.prepare(
            'sh',
            '-c',
            'cd "$1" && find . -mindepth 1 -not -empty -printf "%y %m %s %n %l %p\\n" | sort',
            'sh',
            path,
          );
        const [a, b] = [await list(ours), await list(theirs)];
        const withoutFolders = (text: string) => text.split('\n').filter((line) => !line.startsWith('d'));
        if (withoutFolders(a).join() !== withoutFolders(b).join()) {
          throw new ResultsDiffer(`compare ${join(ours, '/')} with ${join(theirs, '/')}`);
        }
      },
    });
    for (const path of aside) await rm(path, { recursive: true, force: true });
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
