import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  compareNames,
  decodeSummary,
  OstreeError,
  printValue,
  signSummary,
  updateSummary,
  type Variant,
} from '@treeline/ostree';
import { UsageError } from '../options.ts';
import { signersOf, signingOptions } from '../signing-options.ts';
import { keyValue, openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const summary: RepoVerb = {
  usage: '',
  options: {
    update: { type: 'boolean', short: 'u', help: 'Update the summary' },
    view: { type: 'boolean', help: 'View the local summary file' },
    'list-metadata-keys': { type: 'boolean', help: 'List the available metadata keys' },
    'print-metadata-key': { type: 'string', argument: 'KEY', help: 'Print string value of metadata key' },
    'add-metadata-string': {
      type: 'string',
      short: 'm',
      multiple: true,
      argument: 'KEY=VALUE',
      help: 'Additional metadata field to add to the summary',
    },
    ...signingOptions,
  },
  async run(parsed, signal) {
    const repo = await openNamedRepo(parsed);
    if (parsed.flag('update')) {
      const metadata = parsed.list('add-metadata-string').map((pair): [string, Variant] => {
        const [key, value] = keyValue(pair, '--add-metadata-string');
        return [key, { type: 's', value }];
      });
      const signers = await signersOf(parsed);
      await updateSummary(repo, { metadata });
      if (signers.length > 0) await signSummary(repo, signers, { signal });
      return;
    }
    const key = parsed.text('print-metadata-key');
    const list = parsed.flag('list-metadata-keys');
    // -v is --verbose everywhere else, and --view here.
    if (!parsed.flag('view') && !parsed.flag('verbose') && key === undefined && !list) {
      throw new UsageError('No option specified; use -u to update summary');
    }
    const data = await readFile(join(repo.path, 'summary')).catch((cause: unknown) => {
      throw new OstreeError('not-found', `${repo.path}: no summary`, {
        cause,
        hint: 'Make one: treeline repo summary -u',
      });
    });
    const { refs, metadata } = decodeSummary(data);
    if (list) for (const name of metadata.map(([key]) => key).toSorted(compareNames)) say(name);
    else if (key !== undefined) {
      const value = metadata.find(([name]) => name === key)?.[1];
      if (!value) throw new OstreeError('not-found', `No such metadata key '${key}'`);
      say(printValue(value.type, value.value));
    } else {
      for (const [name, { commit, size, timestamp, version }] of refs) {
        say(`* ${name}\n    Latest Commit (${size} bytes):\n      ${commit}`);
        if (version) say(`    Version (ostree.commit.version): ${version}`);
        if (timestamp !== null) say(`    Timestamp (ostree.commit.timestamp): ${isoTime(timestamp)}`);
        say('');
      }
      for (const [name, value] of metadata) say(describe(name, value));
    }
  },
};

function describe(name: string, value: Variant): string {
  switch (name) {
    case 'ostree.summary.mode':
      return `Repository Mode (${name}): ${value.value as string}`;
    case 'ostree.summary.last-modified':
    case 'ostree.summary.expires': {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(value.value as bigint);
      const label = name.endsWith('expires') ? 'Expires' : 'Last-Modified';
      return `${label} (${name}): ${isoTime(Number(bytes.readBigUInt64BE()))}`;
    }
    case 'ostree.summary.tombstone-commits':
      return `Has Tombstone Commits (${name}): ${value.value ? 'Yes' : 'No'}`;
    default:
      return `${name}: ${printValue(value.type, value.value)}`;
  }
}

function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(/\..*/, '+00');
}
