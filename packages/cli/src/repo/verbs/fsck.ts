import { OstreeError } from '@treeline/ostree/errors.ts';
import { type DamagedObject, type FsckReport, fsck } from '@treeline/ostree/fsck/fsck.ts';
import type { RepairSource } from '@treeline/ostree/fsck/repair.ts';
import { remoteOptions } from '@treeline/ostree/pull/remote-config.ts';
import { readRemotes } from '@treeline/ostree/repo/remotes.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import type { Parsed } from '../options.ts';
import { openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const fsckVerb: RepoVerb = {
  usage: '',
  options: {
    'add-tombstones': { type: 'boolean', help: 'Add tombstones for missing commits' },
    quiet: { type: 'boolean', short: 'q', help: 'Only print error messages' },
    all: { type: 'boolean', short: 'a', help: "Don't stop on first error" },
    delete: { type: 'boolean', help: 'Remove corrupted objects' },
    'verify-bindings': { type: 'boolean', help: 'Verify ref bindings' },
    'verify-back-refs': { type: 'boolean', help: 'Verify back-references (implies --verify-bindings)' },
    'repair-from': {
      type: 'string',
      multiple: true,
      argument: 'REMOTE|PATH|URL',
      help: 'Get damaged and missing objects from there (may be specified multiple times; not in ostree)',
    },
  },
  async run(parsed, signal) {
    const repo = await openNamedRepo(parsed);
    const quiet = parsed.flag('quiet');
    if (!quiet) say('Validating refs...\nValidating refs in collections...\nEnumerating commits...');
    const progress = process.stderr.isTTY && !quiet ? { onProgress: showProgress } : {};
    const from = parsed.list('repair-from');
    if (from.length > 0) await repairFrom(repo, from, signal);
    const report = await fsck(repo, {
      signal,
      ...progress,
      fix: parsed.flag('delete') ? 'delete' : 'mark',
      verifyBindings: parsed.flag('verify-bindings'),
      verifyBackRefs: parsed.flag('verify-back-refs'),
      addTombstones: parsed.flag('add-tombstones'),
    });
    if ('onProgress' in progress) process.stderr.write('\r\x1b[K');
    if (!quiet) say(`Verifying content integrity of ${report.commits} commit objects...`);
    tell(report, parsed);
    return 0;
  },
};

function showProgress({ objects, objectsKnown }: { objects: number; objectsKnown: number }): void {
  process.stderr.write(`\r\x1b[Kfsck objects (${objects}/${objectsKnown})`);
}

/** Says what was found, and throws when not all is well: in this order, and with these words, as ostree does. */
function tell(report: FsckReport, parsed: Parsed): void {
  const complain = (line: string) => void process.stderr.write(`${line}\n`);
  const [dangling] = report.danglingRefs;
  for (const commit of new Set(report.danglingRefs.values())) complain(`Object missing: ${commit}.commit`);
  if (dangling) {
    throw new OstreeError(
      'corrupt',
      `Loading commit for ref ${dangling[0]}: No such metadata object ${dangling[1]}.commit`,
    );
  }
  const [broken, ...others] = report.brokenRefs.values();
  for (const message of others) complain(`Broken ref: ${message}`);
  if (broken !== undefined) throw new OstreeError('corrupt', `Broken ref: ${broken}`);
  const [fault, ...more] = report.bindingFaults;
  for (const message of more) complain(message);
  if (fault !== undefined) throw new OstreeError('invalid', fault);
  for (const commit of report.tombstones) say(`Adding tombstone for commit ${commit}`);
  tellDamage(report, parsed, complain);
  if (report.partialCommits.length > 0 && !parsed.flag('add-tombstones')) {
    say(`${report.partialCommits.length} partial commits not verified`);
  }
  if (report.damaged.length > 0) throw new OstreeError('corrupt', 'Repository corruption encountered');
  if (report.lostCommits.length > 0) {
    throw new OstreeError('corrupt', `${report.lostCommits.length} partial commits from fsck-detected corruption`, {
      hint: 'Pull them again, or give fsck --repair-from a repository that has what is lost.',
    });
  }
  say(`object fsck of ${report.commits} commits completed successfully - no errors found.`);
}

function tellDamage({ damaged, marked }: FsckReport, parsed: Parsed, complain: (line: string) => void): void {
  const corrupt: string[] = [];
  for (const object of damaged) {
    const { type, checksum, kind, commits, message } = object;
    const where = commits.length > 0 ? ` in commits ${commits.join(', ')}` : '';
    if (kind === 'missing') complain(`Object missing${where}: ${checksum}.${type}${placeOf(object)}`);
    else corrupt.push(`In commits ${commits.join(', ')}: ${message}${placeOf(object)}`);
  }
  const goesOn = parsed.flag('all') || parsed.flag('delete');
  const first = goesOn ? undefined : corrupt.shift();
  for (const line of corrupt) complain(line);
  for (const commit of marked) complain(`Marking commit as partial: ${commit}`);
  if (first !== undefined) throw new OstreeError('corrupt', first);
}

function placeOf({ path }: DamagedObject): string {
  return path === undefined ? '' : ` (${path})`;
}

async function repairFrom(repo: Repo, names: string[], signal: AbortSignal): Promise<void> {
  const remotes = await readRemotes(repo);
  const sources: RepairSource[] = [];
  for (const name of names) sources.push(remotes.has(name) ? await remoteOptions(repo, name) : { url: name });
  const { repair } = await import('@treeline/ostree/fsck/repair.ts');
  const { repaired } = await repair(repo, sources, { signal });
  for (const object of repaired) say(`Repaired ${object}`);
}
