import { OstreeError } from '@treeline/ostree/errors.ts';
import { type Metadata, metadataValue } from '@treeline/ostree/formats/commit.ts';
import type { Checksum } from '@treeline/ostree/formats/object-name.ts';
import type { Variant } from '@treeline/ostree/gvariant/encode.ts';
import { parseValue } from '@treeline/ostree/gvariant/parse.ts';
import { ownCollection } from '@treeline/ostree/repo/collection-refs.ts';
import { readCommit } from '@treeline/ostree/repo/objects.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { type Parsed, UsageError } from '../options.ts';

const REF_BINDING = 'ostree.ref-binding';
const COLLECTION_BINDING = 'ostree.collection-binding';

/** What the options say, in the order in which ostree stores it: strings, values, what is kept, bindings. */
export async function metadataOf(
  repo: Repo,
  parsed: Parsed,
  branch: string | undefined,
  parent: Checksum | null,
): Promise<Metadata> {
  const metadata: [string, Variant][] = [
    ...parsed.list('add-metadata-string').map(stringPair),
    ...parsed.list('add-metadata').map(variantPair),
    ...(await kept(repo, parsed.list('keep-metadata'), parent)),
  ];
  if (metadata.some(([key]) => key === '')) throw new OstreeError('invalid', 'Empty metadata key');
  if (parsed.flag('no-bindings')) return metadata;
  const refs = [...(branch === undefined ? [] : [branch]), ...parsed.list('bind-ref')];
  const bound = refs.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  metadata.push([REF_BINDING, { type: 'as', value: bound }]);
  const collection = ownCollection(repo);
  if (collection !== null && !metadataValue(metadata, COLLECTION_BINDING)) {
    metadata.push([COLLECTION_BINDING, { type: 's', value: collection }]);
  }
  return metadata;
}

/** Detached metadata of the options; null without any. */
export function detachedMetadataOf(parsed: Parsed): Metadata | null {
  const pairs = parsed.list('add-detached-metadata-string').map(stringPair);
  return pairs.length > 0 ? pairs : null;
}

function stringPair(pair: string): [string, Variant] {
  const [key, value] = split(pair);
  return [key, { type: 's', value }];
}

function variantPair(pair: string): [string, Variant] {
  const [key, text] = split(pair);
  try {
    return [key, parseValue(text)];
  } catch (cause) {
    if (!(cause instanceof OstreeError)) throw cause;
    throw new OstreeError('invalid', `Parsing ${pair}: ${cause.message}`, { cause });
  }
}

function split(pair: string): [string, string] {
  const equals = pair.indexOf('=');
  if (equals < 0) throw new UsageError(`Missing '=' in KEY=VALUE metadata '${pair}'`);
  return [pair.slice(0, equals), pair.slice(equals + 1)];
}

async function kept(repo: Repo, keys: readonly string[], parent: Checksum | null): Promise<[string, Variant][]> {
  if (keys.length === 0) return [];
  if (parent === null) {
    throw new UsageError('Either --branch or --parent must be specified when using --keep-metadata');
  }
  const { metadata } = await readCommit(repo, parent);
  return keys.map((key) => {
    const value = metadataValue(metadata, key);
    if (!value) throw new OstreeError('not-found', `Missing metadata key '${key}' from commit '${parent}'`);
    return [key, value];
  });
}
