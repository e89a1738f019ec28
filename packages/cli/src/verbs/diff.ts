import { createWriteStream } from 'node:fs';
import type { Diff } from '@treeline/server';
import type { Command } from 'commander';
import { CliError } from '../errors.ts';
import { changeTable, countChanges, downloadLine } from '../output/diff.ts';
import { printDocument, printText } from '../output/document.ts';
import { slowWork } from '../output/progress.ts';
import { shortId } from '../output/words.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type DiffOptions = { stat?: boolean; patch?: boolean; export?: string };
/** A difference that was found here: a workspace that was not committed has no commit. */
type Difference = Omit<Diff, 'from' | 'to'> & { from: string | null; to: string | null };

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Exactly the files that differ between two commits, and what a device fetches to get from one to the other. ' +
        'Either may be a workspace as it is now, or what a device runs.',
    )
    .argument('<from>', 'a channel (robot/edge; robot/edge^ is its release before), a release number, a commit …')
    .argument('<to>', 'the same; or a workspace (its folder, or `mine`), device:ID, `production`, a ref of yours')
    .option('--stat', 'only how many files and bytes')
    .option('--patch', 'a patch of text files, in the form of git diff')
    .option('--export <file>', 'write an overlay.tar of what was added and changed; removals as .wh.NAME')
    .addHelpText(
      'after',
      `
A added, D removed, M modified. +NAME and -NAME are extended attributes. Fetched: the bytes of a device.

\`mine\` is the workspace of the current folder, else the last one that was used. \`production\` is the release
of the channel that it came from; without a workspace, of TREELINE_PRODUCTION or of the only channel.

Examples:
  treeline diff robot/edge^ robot/edge
  treeline diff production mine --export overlay.tar
  treeline diff device:robot-1 ~/robot --patch`,
    )
    .action((from: string, to: string, _: object, self: Command) => run(from, to, { self, session }));
}

async function run(from: string, to: string, o: { self: Command; session: Session }): Promise<void> {
  const options = optionsOf<DiffOptions>(o.self);
  if (options.patch && (options.json || options.export === '-')) {
    throw new CliError('usage', '--patch writes to stdout, too: leave one of the two out.');
  }
  const { readSide } = await import('../workspace/sides.ts');
  const context = { session: o.session, options };
  const [before, after] = [await readSide(from, context), await readSide(to, context)];
  const isPlain = !options.patch && options.export === undefined;
  if (isPlain && before.kind === 'server' && after.kind === 'server') {
    const query = { from: before.commit, to: after.commit };
    const diff = await clientOf(o.session, options).get<Diff>('diff', query, { work: 'comparing' });
    return show(diff, `${shortId(diff.from)}..${shortId(diff.to)}`, options);
  }

  const { layOut } = await import('../workspace/sides.ts');
  const { describeChange, diffTrees, downloadSize, exportOverlay, patchText } = await import('@treeline/ostree');
  const { signal } = o.session;
  const progress = slowWork('comparing');
  try {
    const [left, right] = [await layOut(before, context), await layOut(after, context)];
    const { repo } = right.home;
    const changes = await diffTrees(repo, left.tree, right.tree, { download: true, signal });
    progress.close();
    if (options.export !== undefined) {
      const output = options.export === '-' ? process.stdout : createWriteStream(options.export);
      await exportOverlay({ repo, tree: right.tree }, changes, output, { signal });
      if (options.export === '-') return;
    }
    if (options.patch) {
      for await (const text of patchText(changes, { signal })) process.stdout.write(text);
      return;
    }
    const diff: Difference = {
      from: left.commit,
      to: right.commit,
      changes: changes.map(describeChange),
      download: downloadSize(repo, left.tree, right.tree),
    };
    show(diff, `${left.label} .. ${right.label}`, options);
    if (options.export !== undefined && !options.json) printText(`written to ${options.export}`);
  } finally {
    progress.close();
  }
}

function show(diff: Difference, title: string, options: DiffOptions & { json?: boolean }): void {
  const { changes, download, from, to } = diff;
  if (options.json) {
    printDocument(diff);
    return;
  }
  if (!options.stat && changes.length > 0) printText(changeTable(changes));
  if (changes.length > 0) printText(`${title}  ${countChanges(changes)}\n${downloadLine(download)}`);
  else if (from !== null && from === to) printText(`Both are commit ${shortId(from)}.`);
  else printText('No file differs: the trees are the same.');
}
