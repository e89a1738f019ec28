import { OstreeError } from '@treeline/ostree/errors.ts';
import { compareNames } from '@treeline/ostree/formats/object-name.ts';
import { fetchRemoteSummary, summaryRefs } from '@treeline/ostree/pull/configured-summary.ts';
import { remoteKeyring } from '@treeline/ostree/sign/gpg-keyring.ts';
import { decodeSignatures, remoteVerification, signaturesOf } from '@treeline/ostree/sign/remote-verification.ts';
import { formatGpgVerification } from '../gpg-text.ts';
import { type OptionSpec, type Parsed, UsageError } from '../options.ts';
import { formatRawSummary, formatSummary, formatSummaryKey, summaryKeys } from '../summary-text.ts';
import { openNamedRepo, type RepoVerb, say } from '../verb.ts';

const cacheDir: OptionSpec = { type: 'string', argument: 'PATH', help: 'Use custom cache dir' };

export const remoteSummary: RepoVerb = {
  usage: 'NAME',
  options: {
    'list-metadata-keys': { type: 'boolean', help: 'List the available metadata keys' },
    'print-metadata-key': { type: 'string', argument: 'KEY', help: 'Print string value of metadata key' },
    'cache-dir': cacheDir,
    raw: { type: 'boolean', help: 'Show raw variant data' },
  },
  async run(parsed, signal) {
    const name = nameOf(parsed);
    const repo = await openNamedRepo(parsed);
    const files = await fetchRemoteSummary(repo, name, { ...cacheOf(parsed), signal });
    if (!files) throw new OstreeError('not-found', 'Remote server has no summary file');
    const { summary, signature } = files;
    const key = parsed.text('print-metadata-key');
    if (parsed.flag('list-metadata-keys')) for (const one of summaryKeys(summary)) say(one);
    else if (key !== undefined) say(formatSummaryKey(summary, key));
    else if (parsed.flag('raw')) say(formatRawSummary(summary));
    else {
      process.stdout.write(formatSummary(summary));
      const demanded = await remoteVerification(repo, name, 'summary');
      const signatures =
        demanded?.gpg && signature ? signaturesOf(decodeSignatures(signature), 'ostree.gpgsigs') : null;
      if (signatures) {
        const found = await (await remoteKeyring(repo, name)).verify(summary, signatures, signal);
        process.stdout.write(`\n${formatGpgVerification(found)}`);
      }
    }
    return 0;
  },
};

export const remoteRefs: RepoVerb = {
  usage: 'NAME',
  options: {
    'cache-dir': cacheDir,
    revision: { type: 'boolean', short: 'r', help: 'Show revisions in listing' },
  },
  async run(parsed, signal) {
    const name = nameOf(parsed);
    const files = await fetchRemoteSummary(await openNamedRepo(parsed), name, { ...cacheOf(parsed), signal });
    if (!files) throw new OstreeError('not-found', 'Remote refs not available; server has no summary file');
    const refs = [...summaryRefs(files.summary)].toSorted(([a], [b]) => compareNames(a, b));
    for (const [ref, commit] of refs) say(`${name}:${ref}${parsed.flag('revision') ? `\t${commit}` : ''}`);
    return 0;
  },
};

function nameOf(parsed: Parsed): string {
  const name = parsed.positionals[0];
  if (name === undefined) throw new UsageError('NAME must be specified', { showHelp: true });
  return name;
}

function cacheOf(parsed: Parsed): { cacheFolder?: string } {
  const folder = parsed.text('cache-dir');
  return folder === undefined ? {} : { cacheFolder: folder };
}
