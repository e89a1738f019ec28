import type { Freed, Pin, PrunedRepository } from '@treeline/server';
import { formatBytes } from './bytes.ts';
import { paint, type Style } from './colour.ts';
import { formatAge, formatDuration } from './duration.ts';
import { type Cell, formatTable } from './table.ts';
import { oneLine } from './text.ts';
import { count, shortId } from './words.ts';

type Commit = PrunedRepository['commits'][number];

/** What a prune did or would do in one repository. */
export function formatPruned(pruned: PrunedRepository, now: number): string {
  const { repository, dryRun, commits, kept, freed, waiting } = pruned;
  const number = (state: Commit['state']) => commits.filter((commit) => commit.state === state).length;
  const stays = Object.values(kept).reduce((total, one) => total + one, 0);
  const parts = [`${count(stays, 'commit')} ${stays === 1 ? 'stays' : 'stay'}`];
  if (number('dropped') > 0) parts.push(`${number('dropped')} in grace`);
  if (number('going') > 0) parts.push(`${number('going')} would go now`);
  if (number('gone') > 0) parts.push(`${number('gone')} gone`);
  const lines = [`${paint('bold', oneLine(repository ?? 'the store'))}: ${parts.join(', ')}`];
  if (repository === null && stays > 0) lines.push(`  named by ${storeReasons(kept)}`);
  if (freed.objects + freed.deltas > 0) lines.push(`  ${dryRun ? 'would free' : 'freed'} ${formatFreed(freed)}`);
  else lines.push(`  ${dryRun ? 'nothing would go now' : 'nothing went'}`);
  if (waiting && waiting.objects + waiting.deltas > 0) lines.push(`  later ${formatFreed(waiting)}`);
  if (commits.length > 0) lines.push(commitTable(commits, now));
  return lines.join('\n');
}

const words: Record<string, string> = {
  ref: 'a ref',
  release: 'a release',
  result: 'a result of a job',
  source: 'a source revision',
  label: 'a label',
  pin: 'a pin',
  device: 'a device',
  origin: 'a commit that was made from it',
};

function storeReasons(kept: Record<string, number>): string {
  return Object.entries(kept)
    .map(([reason, number]) => `${words[reason] ?? oneLine(reason)} (${number})`)
    .join(', ');
}

function formatFreed({ objects, bytes, linked, deltas, deltaBytes }: Freed): string {
  const parts = [`${formatBytes(bytes)} in ${count(objects, 'object')}`];
  if (deltas > 0) parts.push(`${formatBytes(deltaBytes)} in ${count(deltas, 'delta')}`);
  const links = linked > 0 ? `; ${formatBytes(linked)} of it stay under another name, in the store` : '';
  return parts.join(', ') + links;
}

const styles: Record<Commit['state'], Style> = { kept: 'green', dropped: 'yellow', going: 'red', gone: 'red' };

function commitTable(commits: readonly Commit[], now: number): string {
  const rows = commits.map((commit): Cell[] => {
    const { state, reasons, releases } = commit;
    return [
      { text: shortId(commit.commit), style: 'yellow' },
      releases.map(({ channel, number }) => `${channel} ${number}`).join(', '),
      { text: stateOf(commit, now), style: styles[state] },
      { text: reasons.join('; '), below: true },
    ];
  });
  const columns = [
    { header: 'commit' },
    { header: 'releases', shrink: true },
    { header: 'state' },
    { header: 'why', shrink: true },
  ];
  return formatTable(columns, rows, { indent: '  ' });
}

function stateOf({ state, goesAt, droppedAt }: Commit, now: number): string {
  if (state === 'kept') return 'stays';
  if (state === 'gone') return 'gone';
  if (state === 'going') return 'goes now';
  const left = goesAt === null ? null : Date.parse(goesAt) - now;
  if (left !== null && left > 0) return `goes in ${formatDuration(left)}`;
  return droppedAt === null ? 'dropped' : `dropped ${formatAge(Date.parse(droppedAt), now)}`;
}

/** Pins, a line each. */
export function pinTable(pins: readonly Pin[], now: number): string {
  return formatTable(
    [
      { header: 'commit' },
      { header: 'where', shrink: true },
      { header: 'releases', shrink: true },
      { header: 'by', shrink: true },
      { header: 'why', shrink: true },
      { header: 'when', align: 'right' },
    ],
    pins.map((pin): Cell[] => [
      { text: shortId(pin.commit), style: 'yellow' },
      pin.repository ?? 'everywhere',
      pin.releases.map(({ channel, number }) => `${channel} ${number}`).join(', '),
      pin.by,
      { text: pin.reason, below: true },
      formatAge(Date.parse(pin.createdAt), now),
    ]),
  );
}
