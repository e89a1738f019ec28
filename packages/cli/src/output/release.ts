import type { Publication, Release, ReleaseDetail } from '@treeline/server';
import { stepOf } from '../publications.ts';
import { formatBytes } from './bytes.ts';
import { paint } from './colour.ts';
import { formatAge } from './duration.ts';
import { fields } from './fields.ts';
import { stateStyle } from './run.ts';
import { type Cell, formatTable } from './table.ts';
import { oneLine } from './text.ts';
import { shortId } from './words.ts';

/** The state of a release in a list, with what retention says of its commit. */
export function stateWords({ state, pinned, droppedAt }: Pick<Release, 'state' | 'pinned' | 'droppedAt'>): string {
  if (pinned) return `${state}, pinned`;
  return droppedAt ? `${state}, dropped` : state;
}

/** One release for people, with the publication that it is part of. */
export function formatRelease({ release, publication }: ReleaseDetail, now: number): string {
  const at = release.publishedAt ?? release.createdAt;
  const state = release.state === 'publishing' ? `publishing${stepOf(release)}` : release.state;
  const pairs: Array<[string, string]> = [
    ['release', paint('bold', `${release.number} of ${oneLine(`${release.repository}:${release.channel}`)}`)],
    ['state', paint(stateStyle(release.state), oneLine(state)) + (release.current ? ', what the channel has now' : '')],
    ['commit', paint('yellow', release.commit)],
    ['before', release.previous ? shortId(release.previous) : 'nothing'],
    ['when', `${formatAge(Date.parse(at), now)}, ${at}`],
    ['who', oneLine(release.by ?? (release.runId ? `the server, for ${release.runId}` : 'the server'))],
    ['reason', oneLine(release.reason)],
  ];
  if (release.artifact) pairs.splice(3, 0, ['artifact', oneLine(release.artifact)]);
  if (release.pinned) pairs.push(['pinned', oneLine(`by ${release.pinned.by}: ${release.pinned.reason}`)]);
  if (release.droppedAt) {
    const since = formatAge(Date.parse(release.droppedAt), now);
    pairs.push([
      'dropped',
      `${since}: nothing keeps its commit in ${oneLine(release.repository)}; see treeline prune -n`,
    ]);
  }
  if (release.message && release.state !== 'publishing') pairs.push(['message', oneLine(release.message)]);
  const keys = publication.signatures.filter(({ commit }) => commit === release.commit).map(({ key }) => oneLine(key));
  pairs.push(['signed by', keys.join(', ') || 'nobody']);
  const { commit, id, number } = release;
  const parts = [...labels(publication, commit), ...declared(publication, id), ...deltas(publication, commit)];
  return [fields(pairs), ...parts, ...together(publication, number)].join('\n\n');
}

function labels(publication: Publication, commit: string): string[] {
  const rows = publication.labels
    .filter((label) => label.commit === commit && label.label !== 'public')
    .map(({ label, path }): Cell[] => [{ text: label, style: 'yellow' }, path.join(' <- ')]);
  return rows.length === 0 ? [] : [formatTable([{ header: 'label' }, { header: 'from', shrink: true }], rows)];
}

function declared(publication: Publication, id: string): string[] {
  return publication.declared
    .filter(({ release }) => release === id)
    .map(({ project, artifact, because, revision, file, line, passed }) => {
      const what = `${project}/${artifact} is declared releasable: ${because}`;
      const where = `  ${file}:${line} of ${project} at ${shortId(revision)}`;
      const ways = passed.map(({ label, path }) => `  lets pass ${path.join(' <- ')} (${label})`);
      return [paint('yellow', oneLine(what)), ...[where, ...ways].map((line) => oneLine(line))].join('\n');
    });
}

function deltas(publication: Publication, to: string): string[] {
  const rows = publication.deltas
    .filter((delta) => delta.to === to)
    .map((delta): Cell[] => [
      { text: shortId(delta.from), style: 'yellow' },
      { text: delta.state, style: delta.state === 'failed' ? 'red' : 'green' },
      delta.bytes === null ? '-' : formatBytes(delta.bytes),
      delta.message ?? '',
    ]);
  if (rows.length === 0) return [];
  const columns = [
    { header: 'delta from' },
    { header: 'state' },
    { header: 'size', align: 'right' as const },
    { header: ' ', shrink: true },
  ];
  return [formatTable(columns, rows)];
}

function together({ releases }: Publication, number: number): string[] {
  const others = releases.filter((release) => release.number !== number);
  if (others.length === 0) return [];
  const rows = others.map((release): Cell[] => [
    String(release.number),
    `${release.repository}:${release.channel}`,
    { text: shortId(release.commit), style: 'yellow' },
  ]);
  return [
    formatTable(
      [{ header: 'together with', align: 'right' }, { header: 'channel', shrink: true }, { header: 'commit' }],
      rows,
    ),
  ];
}
