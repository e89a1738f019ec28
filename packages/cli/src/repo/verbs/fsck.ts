import { fsck } from '@treeline/ostree';
import { openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const fsckVerb: RepoVerb = {
  usage: '',
  options: {
    quiet: { type: 'boolean', short: 'q', help: 'Only print error messages' },
    all: { type: 'boolean', short: 'a', help: "Don't stop on first error (it never does)" },
  },
  async run(parsed, signal) {
    const repo = await openNamedRepo(parsed);
    const quiet = parsed.flag('quiet');
    if (!quiet) say('Validating refs...\nVerifying content integrity of all commits...');
    const showProgress = process.stderr.isTTY && !quiet;
    const report = await fsck(repo, {
      signal,
      ...(showProgress
        ? {
            onProgress: ({ objects, objectsKnown }) => {
              process.stderr.write(`\r\x1b[Kfsck objects (${objects}/${objectsKnown})`);
            },
          }
        : {}),
    });
    if (showProgress) process.stderr.write('\r\x1b[K');
    for (const { kind, message, path, commits } of report.damaged) {
      const where = path ? ` (${path} in ${commits[0]!.slice(0, 12)})` : '';
      process.stderr.write(`${kind === 'missing' ? 'Object missing' : 'Corrupted object'}: ${message}${where}\n`);
    }
    for (const [name, commit] of report.danglingRefs) process.stderr.write(`Ref ${name}: no commit ${commit}\n`);
    for (const message of report.brokenRefs.values()) process.stderr.write(`Broken ref: ${message}\n`);
    if (report.partialCommits.length > 0) say(`${report.partialCommits.length} partial commits not verified`);
    const faults = report.damaged.length + report.danglingRefs.size + report.brokenRefs.size;
    if (faults > 0) {
      process.stderr.write(
        `error: Repository has ${faults} damaged or missing objects and refs; pull them again, delete broken refs\n`,
      );
      return 1;
    }
    say(`object fsck of ${report.commits} commits completed successfully - no errors found.`);
    return 0;
  },
};
