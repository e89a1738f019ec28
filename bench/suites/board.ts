import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LegReport } from '@treeline/board';
import type { Bench, Suite } from '../suite.ts';

export const suite: Suite = { title: 'board: an update of a whole Debian on a board that QEMU emulates', run };

const STEPS = ['check', 'pull', 'stage', 'reboot', 'verify'] as const;

/** From `publish` to "B is up and good", as the server has it on record. There is no peer: nobody else measures this. */
async function run(bench: Bench): Promise<void> {
  const report = join(bench.scratch, 'report.json');
  const kept = join(bench.scratch, 'run');
  bench.say('builds a Debian, boots it in QEMU and updates it: some minutes');
  const main = join(import.meta.dirname, '../../e2e/board/main.ts');
  await bench.prepare(process.execPath, main, '--only-good', '--keep', kept, '--report', report);
  const legs = JSON.parse(await readFile(report, 'utf8')) as LegReport[];
  const update = legs.find(({ name }) => name === 'B');
  if (update === undefined) return;
  const row = (measure: string, unit: string, ours: number | null) =>
    bench.add({ measure, unit, ours, theirs: null, peer: 'none', goal: null, runs: 1 });
  row('publish to up and good', 's', update.seconds);
  for (const step of STEPS) row(`  ${step}`, 's', update[step]);
  row('bytes on the wire for a change of one file', 'B', update.bytes);
  row('objects', '1', update.objects);
  bench.remark(`seconds by the server's records; the agent looks every 3 s; ${update.boots} boot`);
}
