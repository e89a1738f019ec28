import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LegReport } from '@treeline/board';
import { CHANNEL } from '../../e2e/board/project.ts';
import { TreelineServer } from '../../e2e/testing/treeline-server.ts';
import { measureAtRest } from '../board/at-rest.ts';
import { stockBytes } from '../board/bytes.ts';
import type { Bench, Suite } from '../suite.ts';

export const suite: Suite = { title: 'board: an update of a whole Debian on a board that QEMU emulates', run };

const STEPS = ['check', 'pull', 'stage', 'reboot', 'verify'] as const;

/**
 * From `publish` to "B is up and good", as the server has it on record: there is no peer, nobody else measures this. What
 * the agent fetched, beside what `ostree` itself fetches. And what the agent takes when there is nothing to do.
 */
async function run(bench: Bench): Promise<void> {
  const report = join(bench.scratch, 'report.json');
  const kept = join(bench.scratch, 'run');
  bench.say('builds a Debian, boots it in QEMU and updates it: some minutes');
  const main = join(import.meta.dirname, '../../e2e/board/main.ts');
  await bench.prepare(process.execPath, main, '--only-good', '--keep', kept, '--report', report);
  const legs = JSON.parse(await readFile(report, 'utf8')) as LegReport[];
  const update = legs.find(({ name }) => name === 'B');
  const first = legs.find(({ name }) => name === 'A boots');
  if (update === undefined || first === undefined) throw new Error(`${report} has no update`);
  const row = (measure: string, unit: string, ours: number | null) =>
    bench.add({ measure, unit, ours, theirs: null, peer: 'none', goal: null, runs: 1 });
  row('publish to up and good', 's', update.seconds);
  for (const step of STEPS) row(`  ${step}`, 's', update[step]);
  const repo = join(kept, 'data/repos/public');
  const theirs = await stockBytes(bench, { repo, from: first.target, to: update.target });
  bench.add({
    ...{ measure: 'bytes on the wire for a change of one file', unit: 'B', ours: update.bytes, theirs },
    ...{ peer: 'ostree pull', goal: 0.91, runs: 1 }, // 1 / 1.1
  });
  row('objects', '1', update.objects);
  bench.remark(`seconds by the server's records; the agent looks every 3 s; ${update.boots} boot`);
  const server = new TreelineServer(join(kept, 'data'));
  bench.atEnd(() => server.stop());
  await server.start();
  await measureAtRest(bench, { server, channel: CHANNEL });
}
