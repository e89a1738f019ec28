import type { LabelAnswer, PutLabel } from '@treeline/server';
import type { Command } from 'commander';
import { CliError } from '../errors.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { labelTable, putLabelTable } from '../output/label.ts';
import { oneLine } from '../output/text.ts';
import { fetchCommit, resolveCommit } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type LabelOptions = { remove?: string; reason?: string; project?: string; artifact?: string };

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Say who may have a commit: public, internal, or restricted:WHY. Every commit of the same tree has the label, and ' +
        'so has whatever is made from it. A repository takes in only what it admits. Without a label: what there is.',
    )
    .argument('[rev]', 'a channel, a release number, project/artifact (its newest), a ref, or a commit')
    .argument('[label]', 'public, internal, or restricted:WHY')
    .option('--remove <label>', 'take this label off')
    .option('--reason <text>', 'why; the audit log keeps it')
    .option('--project <name>', 'instead of a commit: all that this project’s sources make, old and new')
    .option('--artifact <name>', 'instead of a commit: all artifacts project/artifact, old and new')
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  treeline label vendor/drivers restricted:nda --reason "contract 17"\n' +
        '  treeline label vendor/drivers --remove restricted:nda --reason "contract ended"\n' +
        '  treeline label --project vendor internal --reason "not ours to give"',
    )
    .action((first: string | undefined, second: string | undefined, _: object, self: Command) =>
      label([first, second], self, session),
    );
}

async function label(words: [string | undefined, string | undefined], self: Command, session: Session): Promise<void> {
  const options = optionsOf<LabelOptions>(self);
  const { project, artifact, remove } = options;
  const isNamed = project !== undefined || artifact !== undefined;
  // With a name instead of a commit the only word is the label.
  const [rev, put] = isNamed ? [undefined, words[0]] : words;
  if (project !== undefined && artifact !== undefined)
    throw new CliError('usage', '--project or --artifact, not both.');
  if (isNamed && words[1] !== undefined)
    throw new CliError('usage', 'A name stands instead of a commit: give the label alone.');
  if (put !== undefined && remove !== undefined) throw new CliError('usage', 'Put one label on, or take one off.');
  const wanted = put ?? remove;
  if (wanted === undefined) {
    if (isNamed) throw new CliError('usage', 'There is no label to put on it.', { hint: 'treeline label --help' });
    if (rev === undefined) return list(self, session);
    const client = clientOf(session, options);
    const { labels } = await fetchCommit(client, await resolveCommit(client, rev));
    return options.json ? printDocument({ labels }) : printText(labelTable(labels));
  }
  if (!isNamed && rev === undefined)
    throw new CliError('usage', 'There is nothing to take it off.', { hint: 'treeline label REV --remove LABEL' });
  if (!options.reason) {
    throw new CliError('usage', 'A label needs a reason: whoever meets it wants to know.', { hint: '--reason "…"' });
  }
  const client = clientOf(session, options);
  const on = rev === undefined ? { project, artifact } : { commit: await resolveCommit(client, rev) };
  const answer = await client.send<LabelAnswer>('POST', remove === undefined ? 'labels' : 'labels/remove', {
    ...on,
    label: wanted,
    reason: options.reason,
  });
  if (options.json) return printDocument(answer);
  const what = paint('bold', oneLine(answer.labelled));
  printText(
    remove === undefined ? `${what} is ${oneLine(wanted)}.` : `${what} is not ${oneLine(wanted)} by itself any more.`,
  );
  if (answer.labels.length > 0) printText(`\n${labelTable(answer.labels)}`);
  for (const { repository, channel, label: refused, path } of answer.unadmitted) {
    const way = oneLine(`${path.join(' <- ')} (${refused})`);
    printText(paint('yellow', `\n${oneLine(`${repository}:${channel}`)} is published already and has ${way}.`));
    printText(paint('dim', `Take it back: treeline release revert ${oneLine(`${repository}:${channel}`)}`));
  }
}

async function list(self: Command, session: Session): Promise<void> {
  const options = optionsOf(self);
  const answer = await clientOf(session, options).get<{ labels: PutLabel[] }>('labels');
  if (options.json) return printDocument(answer);
  if (answer.labels.length === 0) return printText('No labels yet. Put one on: treeline label REV LABEL --reason WHY');
  printText(putLabelTable(answer.labels, Date.now()));
}
