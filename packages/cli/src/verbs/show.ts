import type { CommitInfo } from '@treeline/server';
import type { Command } from 'commander';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatAge } from '../output/duration.ts';
import { fields } from '../output/fields.ts';
import { labelTable } from '../output/label.ts';
import { sourceTable } from '../output/provenance.ts';
import { formatTable } from '../output/table.ts';
import { oneLine } from '../output/text.ts';
import { shortId } from '../output/words.ts';
import { fetchCommit, resolveCommit } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command
    .description('What a commit is: which job made it, from which inputs, from which git revisions.')
    .argument('<rev>', 'a channel (robot/edge), a release number, project/artifact, or (the beginning of) a commit')
    .action(async (rev: string, _: object, self: Command) => {
      const options = optionsOf(self);
      const client = clientOf(session, options);
      const commit = await fetchCommit(client, await resolveCommit(client, rev));
      if (options.json) return printDocument(commit);
      printText(formatCommit(commit));
    });
}

function formatCommit(commit: CommitInfo): string {
  const pairs: Array<[string, string]> = [
    ['commit', paint('yellow', commit.commit)],
    ['tree', `${shortId(commit.tree.contents)} (meta ${shortId(commit.tree.meta)})`],
    ['made', `${formatAge(Date.parse(commit.createdAt), Date.now())}, ${commit.createdAt}`],
  ];
  if (commit.subject) pairs.push(['subject', oneLine(commit.subject)]);
  if (commit.channels.length > 0) pairs.push(['channels', paint('green', commit.channels.map(oneLine).join(', '))]);
  const parts: string[] = [];
  const { provenance, source } = commit;
  if (provenance) {
    pairs.push(['artifact', paint('bold', `${oneLine(provenance.project)}/${oneLine(provenance.artifact)}`)]);
    pairs.push(['job', `${oneLine(provenance.job)}, key ${shortId(provenance.key)}, run ${oneLine(provenance.run)}`]);
    if (provenance.inputs.length > 0) {
      const rows = provenance.inputs.map((input) => [
        input.name,
        { text: shortId(input.commit), style: 'yellow' as const },
      ]);
      parts.push(formatTable([{ header: 'input', shrink: true }, { header: 'commit' }], rows));
    }
    if (provenance.sources.length > 0) parts.push(sourceTable(provenance.sources));
  }
  if (commit.builtIn) {
    const { artifact, version } = commit.builtIn;
    pairs.push([
      'artifact',
      `${paint('bold', `treeline/${oneLine(artifact)}`)}, came with Treeline ${oneLine(version)}`,
    ]);
  }
  if (source) {
    pairs.push(['git', `${paint('bold', oneLine(source.project))} ${source.revision}`]);
    pairs.push(['branch', `${oneLine(source.branch)} of ${oneLine(source.url)}`]);
  }
  if (commit.labels.length > 0) parts.unshift(labelTable(commit.labels));
  return [fields(pairs), ...parts].join('\n\n');
}
