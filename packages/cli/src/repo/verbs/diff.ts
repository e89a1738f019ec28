import { statSync } from 'node:fs';
import {
  type Change,
  diffTrees,
  downloadSize,
  type Repo,
  readCommit,
  resolveRev,
  type Tree,
  withTransaction,
  writeFolder,
} from '@treeline/ostree';
import { UsageError } from '../options.ts';
import { commitOf, openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

export const diff: RepoVerb = {
  usage: 'REV [TARGETDIR]',
  options: {
    stats: { type: 'boolean', help: 'Print various statistics' },
    'fs-diff': { type: 'boolean', help: 'Print filesystem diff' },
    'no-xattrs': { type: 'boolean', help: 'Skip output of extended attributes' },
  },
  async run(parsed) {
    const first = required(parsed, 0, 'REV must be specified');
    const repo = await openNamedRepo(parsed);
    const [from, to] = parsed.positionals[1] === undefined ? [`${first}^`, first] : [first, parsed.positionals[1]];
    if (parsed.positionals.length > 2) throw new UsageError('REV and one TARGETDIR, please');
    const before = await treeOf(repo, from);
    const after = await treeOf(repo, to);
    if (parsed.flag('fs-diff') || !parsed.flag('stats')) printDiff(await diffTrees(repo, before, after));
    if (parsed.flag('stats')) printStats(repo, before, after);
  },
};

/** A revision, or a folder (named with a slash, as ostree wants it), whose objects then go into the repository. */
async function treeOf(repo: Repo, name: string): Promise<Tree> {
  if (name.startsWith('/') || name.startsWith('./')) {
    if (statSync(name, { throwIfNoEntry: false })?.isDirectory()) {
      return withTransaction(repo, (tx) => writeFolder(tx, name));
    }
  }
  return (await readCommit(repo, name.endsWith('^') ? await resolveRev(repo, name) : await commitOf(repo, name))).tree;
}

/** M, D, A in this order, as ostree has it; it leaves the root folder out. */
function printDiff(changes: Change[]): void {
  for (const [kind, letter] of [
    ['modified', 'M'],
    ['removed', 'D'],
    ['added', 'A'],
  ] as const) {
    for (const { kind: actual, path } of changes) {
      if (actual === kind && path !== '/') say(`${letter}    ${path}`);
    }
  }
}

function printStats(repo: Repo, before: Tree, after: Tree): void {
  // One more for the commit on each side, as ostree counts.
  const a = downloadSize(repo, after, before);
  const b = downloadSize(repo, before, after);
  say(`[A] Object Count: ${a.totalObjects + 1}`);
  say(`[B] Object Count: ${b.totalObjects + 1}`);
  say(`Common Object Count: ${b.totalObjects - b.objects}`);
  say(`Common Object Size: ${b.totalBytes - b.bytes} bytes`);
}
