import type { Runner } from '@treeline/server';
import { formatBytes } from './bytes.ts';
import { paint } from './colour.ts';
import { fields } from './fields.ts';
import { oneLine } from './text.ts';
import { count } from './words.ts';

/** What a runner offers, and plainly what of that it only pretends to. */
export function formatRunner(runner: Runner): string {
  const offers = [
    runner.arch,
    count(runner.cpus, 'core'),
    formatBytes(runner.memoryBytes),
    ...(runner.gpu ? ['gpu'] : []),
    ...runner.labels,
  ];
  const pairs: Array<[string, string]> = [['runner     ', oneLine(`${runner.name}: ${offers.join(', ')}`)]];
  if (runner.emulates.length > 0) {
    const what = oneLine(runner.emulates.join(', '));
    pairs.push(['', `${paint('yellow', `only emulates ${what}`)}: such jobs run on this machine without it`]);
  }
  if (runner.sandbox === 'none')
    pairs.push(['', paint(['bold', 'yellow'], 'no sandbox: jobs can do all that you can')]);
  return fields(pairs);
}
