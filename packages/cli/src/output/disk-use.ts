import type { DiskUseAnswer, RepositoryUse } from '@treeline/server';
import { formatBytes } from './bytes.ts';
import { paint } from './colour.ts';
import { type Cell, type Column, formatTable } from './table.ts';
import { oneLine } from './text.ts';
import { count, shortId } from './words.ts';

type Ref = RepositoryUse['refs'][number];
type Use = Pick<Ref, 'total' | 'exclusive' | 'shared' | 'deltas'>;

const useColumns: Column[] = [
  { header: 'objects', align: 'right' },
  { header: 'size', align: 'right' },
  { header: 'alone', align: 'right' },
  { header: 'shared', align: 'right' },
  { header: 'deltas', align: 'right' },
];

function useCells({ total, exclusive, shared, deltas }: Use): Cell[] {
  return [
    String(total.objects),
    formatBytes(total.bytes),
    { text: formatBytes(exclusive.bytes), style: 'bold' },
    formatBytes(shared.bytes),
    deltas.deltas === 0 ? '' : formatBytes(deltas.bytes),
  ];
}

const nameOf = ({ repository }: RepositoryUse) => repository ?? 'the store';

/** Every repository in a line, and all of them together. */
export function formatRepositoryUses({ repositories, bytes, allocated }: DiskUseAnswer): string {
  const rows = repositories.map((one): Cell[] => [
    nameOf(one),
    String(one.objects.objects),
    formatBytes(one.bytes),
    formatBytes(one.allocated),
    one.deltas.deltas === 0 ? '' : formatBytes(one.deltas.bytes),
    one.unreferenced.objects === 0 ? '' : formatBytes(one.unreferenced.bytes),
    one.counted.bytes === 0 ? '' : formatBytes(one.counted.bytes),
  ]);
  const table = formatTable(
    [
      { header: 'repository', shrink: true },
      { header: 'objects', align: 'right' },
      { header: 'size', align: 'right' },
      { header: 'on disk', align: 'right' },
      { header: 'deltas', align: 'right' },
      { header: 'unneeded', align: 'right' },
      { header: 'links', align: 'right' },
    ],
    rows,
  );
  const shares = repositories.some((one) => one.counted.bytes > 0);
  const once = shares ? '; links are files that a line above has, too (hard links), and count once' : '';
  return `${table}\n${paint('bold', formatBytes(bytes))} in all, ${formatBytes(allocated)} on disk${once}`;
}

/** One repository by its refs; a channel of it by its releases. */
export function formatRepositoryUse(use: RepositoryUse, channel: string | undefined): string {
  const [ref] = use.refs;
  if (channel !== undefined && ref) return `${formatReleases(ref)}\n${meaning('release')}`;
  const table = formatTable(
    [{ header: 'ref', shrink: true }, { header: 'commits', align: 'right' }, ...useColumns],
    use.refs.map((one) => [one.name, one.releases.length === 0 ? '' : String(one.releases.length), ...useCells(one)]),
  );
  const parts = [
    `${paint('bold', oneLine(nameOf(use)))}: ${formatBytes(use.bytes)}, ${formatBytes(use.allocated)} on disk`,
    ...(use.objects.linked > 0
      ? [`of which ${formatBytes(use.objects.linked)} have other names, too (hard links)`]
      : []),
    ...(use.unreferenced.objects > 0
      ? [`${formatBytes(use.unreferenced.bytes)} in ${count(use.unreferenced.objects, 'object')} that no commit needs`]
      : []),
  ];
  return `${parts.join('; ')}\n${table}\n${meaning('ref')}`;
}

function formatReleases(ref: Ref): string {
  return formatTable(
    [{ header: 'release', align: 'right' }, { header: ' ' }, { header: 'commit' }, { header: 'state' }, ...useColumns],
    ref.releases.map((release) => [
      release.numbers.join(', ') || '-',
      { text: release.current ? '*' : '', style: ['bold', 'green'] },
      { text: shortId(release.commit), style: 'yellow' },
      release.dropped ? 'dropped' : '',
      ...useCells(release),
    ]),
  );
}

function meaning(of: string): string {
  return paint('dim', `alone: what no other ${of} needs, and what goes with it; shared: what another one needs, too`);
}
