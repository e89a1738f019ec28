import { deleteCommit } from '@treeline/ostree/prune/delete-commit.ts';
import { pruneDeltas } from '@treeline/ostree/prune/deltas.ts';
import { type PruneOptions, prune } from '@treeline/ostree/prune/prune.ts';
import { openRepo, type Repo } from '@treeline/ostree/repo/repo.ts';
import { parseDate } from '../date-text.ts';
import { type Parsed, UsageError } from '../options.ts';
import { formatSize } from '../size-text.ts';
import { commitOf, integer, openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const pruneVerb: RepoVerb = {
  usage: '',
  options: {
    'no-prune': { type: 'boolean', help: "Only display unreachable objects; don't delete" },
    'refs-only': { type: 'boolean', help: 'Only compute reachability via refs' },
    depth: {
      type: 'integer',
      argument: 'DEPTH',
      help: 'Only traverse DEPTH parents for each commit (default: -1=infinite)',
    },
    'delete-commit': { type: 'string', argument: 'COMMIT', help: 'Specify a commit to delete' },
    'keep-younger-than': {
      type: 'string',
      argument: 'DATE',
      help: 'Prune all commits older than the specified date',
    },
    'static-deltas-only': {
      type: 'boolean',
      help: 'Change the behavior of delete-commit and keep-younger-than to prune only static deltas',
    },
    'retain-branch-depth': {
      type: 'string',
      multiple: true,
      argument: 'BRANCH=DEPTH',
      help: 'Additionally retain BRANCH=DEPTH commits',
    },
    'only-branch': {
      type: 'string',
      multiple: true,
      argument: 'BRANCH',
      help: 'Only prune BRANCH (may be specified multiple times)',
    },
    'commit-only': { type: 'boolean', help: 'Only traverse and delete commit objects.' },
    keep: {
      type: 'string',
      multiple: true,
      argument: 'REV',
      help: 'Keep this commit whatever refs say (may be specified multiple times; not in ostree)',
    },
  },
  async run(parsed, signal) {
    const only = parsed.flag('static-deltas-only');
    const commit = parsed.text('delete-commit');
    if (commit !== undefined && parsed.flag('no-prune')) {
      throw new UsageError('Cannot specify both --delete-commit and --no-prune', { showHelp: true });
    }
    if (commit === undefined && only) {
      throw new UsageError(
        '--static-deltas-only requires --delete-commit; see https://github.com/ostreedev/ostree/issues/1479',
      );
    }
    let repo = await openNamedRepo(parsed);
    const options = await pruneOptions(repo, parsed, signal);
    if (commit !== undefined) {
      if (only) await pruneDeltas(repo, { to: commit, signal });
      else await deleteCommit(repo, commit, signal);
      repo = await openRepo(repo.path); // it leaves tombstones by now
    }
    const { objects, deleted, bytesFreed } = await prune(repo, options);
    const size = formatSize(bytesFreed);
    say(`Total ${parsed.flag('commit-only') ? '(commit only) ' : ''}objects: ${objects}`);
    if (deleted === 0) say('No unreachable objects');
    else if (parsed.flag('no-prune')) say(`Would delete: ${deleted} objects, freeing ${size}`);
    else say(`Deleted ${deleted} objects, ${size} freed`);
    return 0;
  },
};

async function pruneOptions(repo: Repo, parsed: Parsed, signal: AbortSignal): Promise<PruneOptions> {
  const since = parsed.text('keep-younger-than');
  const keepYoungerThan = since === undefined ? undefined : parseDate(since);
  if (keepYoungerThan === null) throw new UsageError(`Could not parse '${since}'`);
  const branches = parsed.list('only-branch');
  const depths = parsed.list('retain-branch-depth').map(branchDepth);
  const keep: string[] = [];
  for (const rev of parsed.list('keep')) keep.push(await commitOf(repo, rev));
  return {
    refsOnly: parsed.flag('refs-only'),
    depth: integer(parsed.text('depth'), 'depth') ?? -1,
    ...(keepYoungerThan !== undefined && { keepYoungerThan }),
    ...(depths.length > 0 && { retainBranchDepth: new Map(depths) }),
    ...(branches.length > 0 && { onlyBranches: branches }),
    keep,
    dryRun: parsed.flag('no-prune'),
    commitOnly: parsed.flag('commit-only'),
    signal,
  };
}

function branchDepth(text: string): [string, number] {
  const equals = text.indexOf('=');
  if (equals < 0) throw new UsageError(`Invalid value ${text}, must specify BRANCH=DEPTH`);
  const [branch, depth] = [text.slice(0, equals), text.slice(equals + 1)];
  if (!/^\s*[+-]?\d+$/.test(depth)) throw new UsageError(`Invalid depth ${depth}`);
  return [branch, Number(depth)];
}
