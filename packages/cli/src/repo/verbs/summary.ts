import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError } from '@treeline/ostree/errors.ts';
import type { Variant } from '@treeline/ostree/gvariant/encode.ts';
import { parseValue } from '@treeline/ostree/gvariant/parse.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { updateSummary } from '@treeline/ostree/summary/update.ts';
import { UsageError } from '../options.ts';
import { signersOf, signingOptions } from '../signing-options.ts';
import { formatRawSummary, formatSummary, formatSummaryKey, summaryKeys } from '../summary-text.ts';
import { keyValue, openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const summary: RepoVerb = {
  usage: '',
  options: {
    update: { type: 'boolean', short: 'u', help: 'Update the summary' },
    view: { type: 'boolean', short: 'v', help: 'View the local summary file' },
    raw: { type: 'boolean', help: 'View the raw bytes of the summary file' },
    'list-metadata-keys': { type: 'boolean', help: 'List the available metadata keys' },
    'print-metadata-key': { type: 'string', argument: 'KEY', help: 'Print string value of metadata key' },
    ...signingOptions,
    'add-metadata': {
      type: 'string',
      short: 'm',
      multiple: true,
      argument: 'KEY=VALUE',
      help: 'Additional metadata field to add to the summary',
    },
  },
  async run(parsed, signal) {
    const repo = await openNamedRepo(parsed);
    if (parsed.flag('update')) {
      const metadata = parsed.list('add-metadata').map((pair): [string, Variant] => {
        const [key, value] = keyValue(pair, 'KEY=VALUE metadata');
        return [key, parseValue(value)];
      });
      await updateSummary(repo, { metadata, signers: await signersOf(parsed), signal });
      return 0;
    }
    const key = parsed.text('print-metadata-key');
    if (parsed.flag('raw')) say(formatRawSummary(await read(repo)));
    else if (parsed.flag('view')) process.stdout.write(formatSummary(await read(repo)));
    else if (parsed.flag('list-metadata-keys')) for (const name of summaryKeys(await read(repo))) say(name);
    else if (key !== undefined) say(formatSummaryKey(await read(repo), key));
    else throw new UsageError('No option specified; use -u to update summary');
    return 0;
  },
};

async function read(repo: Repo): Promise<Buffer> {
  return readFile(join(repo.path, 'summary')).catch((cause: unknown) => {
    throw new OstreeError('not-found', `${repo.path}: no summary`, {
      cause,
      hint: 'Make one: treeline repo summary -u',
    });
  });
}
