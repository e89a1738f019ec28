import type { FoundLabel, PutLabel } from '@treeline/server';
import { formatAge } from './duration.ts';
import { type Cell, formatTable } from './table.ts';
import { shortId } from './words.ts';

/** The labels of a commit, each with the way by which it came in. */
export function labelTable(labels: readonly FoundLabel[]): string {
  const rows = labels.map((label): Cell[] => [
    { text: label.label, style: label.label === 'public' ? 'green' : 'yellow' },
    label.path.length > 1 ? label.path.slice(1).join(' <- ') : 'its own',
    whoSaid(label),
  ]);
  return formatTable([{ header: 'label' }, { header: 'from', shrink: true }, { header: 'says', shrink: true }], rows);
}

function whoSaid({ on, project, by, reason }: FoundLabel): string {
  if (on === 'default' || on === 'lost') return reason;
  // What comes with Treeline has its label from nobody.
  if (!project && by === null) return reason;
  const who = project ? `treeline.yaml of ${project}` : by;
  const what = {
    commit: '',
    tree: ', of another commit of this tree',
    artifact: ', of this artifact',
    project: ', of the project',
  }[on];
  return project ? `${who}${what}` : `${who}${what}: ${reason}`;
}

/** Labels that were put on something. */
export function putLabelTable(labels: readonly PutLabel[], now: number): string {
  const rows = labels.map((label): Cell[] => [
    label.label,
    label.on === 'commit' ? shortId(label.labelled) : label.labelled,
    label.project ? `treeline.yaml of ${label.project}` : (label.by ?? '-'),
    label.reason,
    formatAge(Date.parse(label.at), now),
  ]);
  return formatTable(
    [
      { header: 'label' },
      { header: 'on' },
      { header: 'by', shrink: true },
      { header: 'reason', shrink: true },
      { header: 'when', align: 'right' },
    ],
    rows,
  );
}
