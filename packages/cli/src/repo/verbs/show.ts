import { readFile } from 'node:fs/promises';
import { OstreeError } from '@treeline/ostree/errors.ts';
import { type Metadata, metadataValue } from '@treeline/ostree/formats/commit.ts';
import { type Checksum, compareNames, isChecksum } from '@treeline/ostree/formats/object-name.ts';
import { decodeSizes } from '@treeline/ostree/formats/sizes.ts';
import { byteswap } from '@treeline/ostree/gvariant/byteswap.ts';
import { decode } from '@treeline/ostree/gvariant/decode.ts';
import { printValue } from '@treeline/ostree/gvariant/print.ts';
import {
  hasObject,
  readCommit,
  readDetachedMetadata,
  readFileObject,
  readMetadata,
} from '@treeline/ostree/repo/objects.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { COMMIT_FORMAT, formatObject, type RawForm } from '../commit-text.ts';
import { formatCommitSignatures } from '../gpg-text.ts';
import type { Parsed } from '../options.ts';
import { formatSize } from '../size-text.ts';
import { commitOf, openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

export const show: RepoVerb = {
  usage: 'OBJECT',
  options: {
    'print-related': { type: 'boolean', help: 'Show the "related" commits' },
    'print-variant-type': {
      type: 'string',
      argument: 'TYPE',
      help: 'Memory map OBJECT (in this case a filename) to the GVariant type string',
    },
    'list-metadata-keys': { type: 'boolean', help: 'List the available metadata keys' },
    'print-metadata-key': { type: 'string', argument: 'KEY', help: 'Print string value of metadata key' },
    'print-hex': { type: 'boolean', help: 'For byte array valued keys, output an unquoted hexadecimal string' },
    'list-detached-metadata-keys': { type: 'boolean', help: 'List the available detached metadata keys' },
    'print-detached-metadata-key': {
      type: 'string',
      argument: 'KEY',
      help: 'Print string value of detached metadata key',
    },
    'print-sizes': { type: 'boolean', help: 'Show the commit size metadata' },
    raw: { type: 'boolean', help: 'Show raw variant data' },
    'no-byteswap': {
      type: 'boolean',
      short: 'B',
      help: 'Do not automatically convert variant data from big endian',
    },
    'gpg-homedir': { type: 'string', argument: 'HOMEDIR', help: 'GPG Homedir to use when looking for keyrings' },
    'gpg-verify-remote': { type: 'string', argument: 'REMOTE', help: 'Use REMOTE name for GPG configuration' },
  },
  async run(parsed) {
    const rev = required(parsed, 0, 'An object argument is required');
    const repo = await openNamedRepo(parsed);
    const detached = parsed.text('print-detached-metadata-key');
    const key = detached ?? parsed.text('print-metadata-key');
    const type = parsed.text('print-variant-type');
    if (key !== undefined) printKey(await metadataOf(repo, rev, detached !== undefined), key, parsed);
    else if (parsed.flag('list-metadata-keys') || parsed.flag('list-detached-metadata-keys')) {
      const metadata = await metadataOf(repo, rev, parsed.flag('list-detached-metadata-keys'));
      for (const name of metadata.map(([name]) => name).toSorted(compareNames)) say(name);
    } else if (parsed.flag('print-related')) await printRelated(repo, await commitOf(repo, rev));
    else if (type !== undefined) {
      const value = decode(type, await readFile(rev), { object: rev });
      say(printValue(type, byteswap(type, value)));
    } else if (parsed.flag('print-sizes')) await printSizes(repo, await commitOf(repo, rev));
    else await printObject(repo, rev, parsed);
  },
};

async function metadataOf(repo: Repo, rev: string, detached: boolean): Promise<Metadata> {
  const checksum = await commitOf(repo, rev);
  if (!detached) return (await readCommit(repo, checksum)).metadata;
  const metadata = await readDetachedMetadata(repo, checksum);
  if (metadata) return metadata;
  throw new OstreeError('not-found', `No detached metadata for commit ${checksum}`);
}

function printKey(metadata: Metadata, key: string, parsed: Parsed): void {
  const found = metadataValue(metadata, key);
  if (!found) throw new OstreeError('not-found', `No such metadata key '${key}'`);
  const { type, value } = found;
  if (parsed.flag('print-hex') && type === 'ay') say(Buffer.from(value as Uint8Array).toString('hex'));
  else say(printValue(type, parsed.flag('no-byteswap') ? value : byteswap(type, value)));
}

async function printRelated(repo: Repo, checksum: Checksum): Promise<void> {
  // Nothing has ever put any there; the place is kept in the format.
  const fields = decode(COMMIT_FORMAT, await readMetadata(repo, 'commit', checksum)) as readonly unknown[];
  for (const [name, related] of fields[2] as [string, Uint8Array][])
    say(`${name} ${Buffer.from(related).toString('hex')}`);
}

async function printSizes(repo: Repo, checksum: Checksum): Promise<void> {
  const value = metadataValue((await readCommit(repo, checksum)).metadata, 'ostree.sizes');
  if (value?.type !== 'aay') throw new OstreeError('not-found', 'No metadata key ostree.sizes in commit');
  const needed = { archived: 0, unpacked: 0, objects: 0 };
  const total = { archived: 0, unpacked: 0, objects: 0 };
  for (const size of decodeSizes(value.value)) {
    for (const sum of hasObject(repo, size.type, size.checksum) ? [total] : [total, needed]) {
      sum.archived += size.archived;
      sum.unpacked += size.unpacked;
      sum.objects++;
    }
  }
  say(`Compressed size (needed/total): ${formatSize(needed.archived)}/${formatSize(total.archived)}`);
  say(`Unpacked size (needed/total): ${formatSize(needed.unpacked)}/${formatSize(total.unpacked)}`);
  say(`Number of objects (needed/total): ${needed.objects}/${total.objects}`);
}

async function printObject(repo: Repo, rev: string, parsed: Parsed): Promise<void> {
  const raw: RawForm | null = parsed.flag('no-byteswap') ? 'unswapped' : parsed.flag('raw') ? 'swapped' : null;
  const checksum = isChecksum(rev) ? rev : await commitOf(repo, rev);
  const types = ['commit', 'dirmeta', 'dirtree'] as const;
  const type = isChecksum(rev) ? types.find((one) => hasObject(repo, one, rev)) : 'commit';
  if (type === undefined) {
    await printFile(repo, checksum);
    return;
  }
  process.stdout.write(await formatObject(repo, type, checksum, raw));
  if (type !== 'commit') return;
  const trust = { remote: parsed.text('gpg-verify-remote'), homedir: parsed.text('gpg-homedir') };
  process.stdout.write(await formatCommitSignatures(repo, checksum, trust));
}

async function printFile(repo: Repo, checksum: Checksum): Promise<void> {
  if (!hasObject(repo, 'file', checksum)) {
    throw new OstreeError('not-found', `Couldn't find file object '${checksum}'`);
  }
  const { header, size } = await readFileObject(repo, checksum);
  const { symlinkTarget, mode, uid, gid, xattrs } = header;
  say(`Object: ${checksum}`);
  say('Type: file');
  say(`File Type: ${symlinkTarget ? 'symlink' : 'regular'}`);
  say(symlinkTarget ? `Target: ${symlinkTarget}` : `Size: ${size}`);
  say(`Mode: 0${mode.toString(8).padStart(4, '0')}`);
  say(`Uid: ${uid}`);
  say(`Gid: ${gid}`);
  const pairs = xattrs.map(([name, value]) => [Buffer.concat([name, Buffer.alloc(1)]), value]);
  say(`Extended Attributes: { ${printValue('a(ayay)', pairs)} }`);
}
