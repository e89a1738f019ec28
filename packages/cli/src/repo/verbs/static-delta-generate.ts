import { type GenerateDeltaOptions, type GeneratedDelta, generateDelta } from '@treeline/ostree/delta/generate.ts';
import { deltaName } from '@treeline/ostree/delta/names.ts';
import { hasDelta } from '@treeline/ostree/delta/stored.ts';
import type { Checksum } from '@treeline/ostree/formats/object-name.ts';
import { resolveRev } from '@treeline/ostree/repo/refs.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { type Parsed, UsageError } from '../options.ts';
import { keySigners } from '../signers.ts';
import { signingOptions } from '../signing-options.ts';
import { formatSize } from '../size-text.ts';
import { commitOf, integer, openNamedRepo, type RepoVerb, say } from '../verb.ts';

/** Decimal, as libostree counts here. */
const MEGABYTE = 1_000_000;

export const staticDeltaGenerate: RepoVerb = {
  usage: '[TO]',
  options: {
    from: { type: 'string', argument: 'REV', help: 'Create delta from revision REV' },
    empty: { type: 'boolean', help: 'Create delta from scratch' },
    inline: { type: 'boolean', help: 'Inline delta parts into main delta' },
    to: { type: 'string', argument: 'REV', help: 'Create delta to revision REV' },
    'disable-bsdiff': { type: 'boolean', help: 'Disable use of bsdiff' },
    'if-not-exists': {
      type: 'boolean',
      short: 'n',
      help: 'Only generate if a delta does not already exist',
    },
    'set-endianness': { type: 'string', argument: 'ENDIAN', help: "Choose metadata endianness ('l' or 'B')" },
    'swap-endianness': { type: 'boolean', help: 'Swap metadata endianness from host order' },
    'min-fallback-size': {
      type: 'string',
      argument: 'MB',
      help: 'Minimum uncompressed size in megabytes for individual HTTP request',
    },
    'max-bsdiff-size': {
      type: 'string',
      argument: 'MB',
      help: 'Maximum size in megabytes to consider bsdiff compression for input files',
    },
    'max-chunk-size': { type: 'string', argument: 'MB', help: 'Maximum size of delta chunks in megabytes' },
    filename: {
      type: 'string',
      argument: 'PATH',
      help: 'Write the delta content to PATH (a file, with parts beside it). If not specified, the OSTree repository is used',
    },
    sign: { type: 'string', multiple: true, argument: 'KEY_ID', help: 'Sign the delta with' },
    'sign-type': signingOptions['sign-type']!,
    'sign-command': signingOptions['sign-command']!,
    'keys-file': { type: 'string', argument: 'NAME', help: 'Read key(s) from file' },
  },
  async run(parsed, signal) {
    const target = parsed.text('to') ?? parsed.positionals[0];
    if (target === undefined) throw new UsageError('TO revision must be specified');
    if (parsed.flag('empty') && parsed.text('from') !== undefined) {
      throw new UsageError('Cannot specify both --empty and --from=REV');
    }
    const repo = await openNamedRepo(parsed);
    const from = parsed.flag('empty') ? null : await sourceOf(repo, parsed.text('from'), target);
    const to = await commitOf(repo, target);
    if (parsed.flag('if-not-exists') && hasDelta(repo, { from, to })) {
      say(`Delta ${deltaName(from, to)} already exists.`);
      return;
    }
    const options = await optionsOf(parsed);
    say('Generating static delta:');
    say(`  From: ${from ?? 'empty'}`);
    say(`  To:   ${to}`);
    report(await generateDelta(repo, { ...options, from, to, signal }));
  },
};

async function sourceOf(repo: Repo, from: string | undefined, target: string): Promise<Checksum> {
  return from === undefined ? resolveRev(repo, `${target}^`) : commitOf(repo, from);
}

async function optionsOf(parsed: Parsed): Promise<Partial<GenerateDeltaOptions>> {
  const megabytes = (name: string): number | undefined => {
    const value = integer(parsed.text(name), name);
    return value === undefined ? undefined : Math.max(0, value) * MEGABYTE;
  };
  const options: Partial<GenerateDeltaOptions> = { endianness: endiannessOf(parsed) };
  const minFallbackBytes = megabytes('min-fallback-size');
  const maxBsdiffBytes = megabytes('max-bsdiff-size');
  const maxPartBytes = megabytes('max-chunk-size');
  const file = parsed.text('filename');
  const keysFile = parsed.text('keys-file');
  const signers = await keySigners(parsed, parsed.list('sign'), keysFile === undefined ? [] : [keysFile]);
  return {
    ...options,
    ...(minFallbackBytes === undefined ? {} : { minFallbackBytes }),
    ...(maxBsdiffBytes === undefined ? {} : { maxBsdiffBytes }),
    ...(maxPartBytes === undefined ? {} : { maxPartBytes }),
    ...(file === undefined ? {} : { file }),
    bsdiff: !parsed.flag('disable-bsdiff'),
    inline: parsed.flag('inline'),
    signers,
  };
}

function endiannessOf(parsed: Parsed): 'little' | 'big' {
  const chosen = parsed.text('set-endianness') ?? 'l';
  if (chosen !== 'l' && chosen !== 'B') throw new UsageError(`Invalid endianness '${chosen}'`);
  return (chosen === 'B') !== parsed.flag('swap-endianness') ? 'big' : 'little';
}

/** What ostree says of a delta that it has made, on standard error as there. */
function report({ parts, fallbacks, stats }: GeneratedDelta): void {
  const lines = [
    `modified: ${stats.modified}`,
    `new reachable: metadata=${stats.newMetadata} content regular=${stats.newFiles} symlink=${stats.newSymlinks}`,
    ...fallbacks.map(({ checksum, unpackedSize }) => `fallback for ${checksum} (${formatSize(unpackedSize)})`),
    ...parts.map(
      ({ objects, size, unpackedSize }, index) =>
        `part ${index + 1} n:${objects.length} compressed:${size} uncompressed:${unpackedSize}`,
    ),
    `uncompressed=${total(parts, 'unpackedSize')} compressed=${total(parts, 'size')} loose=${stats.looseBytes}`,
    `rollsum=${stats.copied} objects, ${stats.copiedBytes} bytes`,
    `bsdiff=${stats.patched} objects`,
  ];
  process.stderr.write(`${lines.join('\n')}\n`);
}

function total(parts: GeneratedDelta['parts'], what: 'size' | 'unpackedSize'): number {
  return parts.reduce((sum, part) => sum + part[what], 0);
}
