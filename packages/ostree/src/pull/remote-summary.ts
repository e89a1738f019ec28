import { OstreeError } from '../errors.ts';
import { type Checksum, checksumFromBytes, compareNames, isChecksum } from '../formats/object-name.ts';
import { decode } from '../gvariant/decode.ts';
import { LazyArray, tupleMembers, variantContent } from '../gvariant/lazy.ts';

/** What a summary says of a ref. */
export interface ListedRef {
  commit: Checksum;
  /** Bytes of the commit object. */
  size: number;
}

const SUMMARY = '(a(s(taya{sv}))a{sv})';
const REF = '(s(taya{sv}))';
const REFS = 'a(s(taya{sv}))';
const ENTRY = '{sv}';
const CHECKSUM_BYTES = 32;

/**
 * The summary of a remote, of which only what is asked for is read: it may list a million refs. Everything throws
 * `corrupt` where the summary is malformed.
 */
export class RemoteSummary {
  /** The file as it came. */
  readonly data: Buffer;
  readonly #object: string;
  readonly #refs: LazyArray;
  readonly #metadata: ReadonlyMap<string, { type: string; data: Buffer }>;

  /** @param object how errors call it */
  constructor(data: Buffer, object: string) {
    this.data = data;
    this.#object = object;
    const [refs, metadata] = tupleMembers(SUMMARY, data, object);
    this.#refs = new LazyArray(REF, refs!, object);
    this.#metadata = new Map(this.#entries(metadata!));
  }

  /** The collection that its refs belong to, if it says. */
  get collection(): string | null {
    return (this.#value('ostree.summary.collection-id', 's') as string | undefined) ?? null;
  }

  /** Whether deltas are to be looked up in indexes of their own. */
  get indexedDeltas(): boolean {
    return this.#value('ostree.summary.indexed-deltas', 'b') === true;
  }

  /** Whether deleted commits leave tombstones; undefined when it does not say. */
  get tombstoneCommits(): boolean | undefined {
    return this.#value('ostree.summary.tombstone-commits', 'b') as boolean | undefined;
  }

  /** The repository's mode, as libostree names it on disk. */
  get mode(): string | undefined {
    return this.#value('ostree.summary.mode', 's') as string | undefined;
  }

  /** What it says of a ref, by bisection as libostree does: the list is sorted. */
  find(name: string, collection: string | null = null): ListedRef | null {
    const refs =
      collection === null || collection === this.collection ? this.#refs : this.#collections().get(collection);
    if (!refs) return null;
    let low = 0;
    for (let high = refs.length; low < high; ) {
      const middle = (low + high) >>> 1;
      const [found, listed] = this.#ref(refs.item(middle));
      const order = compareNames(found, name);
      if (order === 0) return this.#listed(listed, name);
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return null;
  }

  /** All that it lists: its own refs, then those of other collections. */
  *refs(): Generator<ListedRef & { name: string; collection: string | null }> {
    for (const [collection, refs] of [[this.collection, this.#refs] as const, ...this.#collections()]) {
      for (let index = 0; index < refs.length; index++) {
        const [name, listed] = this.#ref(refs.item(index));
        yield { name, collection, ...this.#listed(listed, name) };
      }
    }
  }

  /** Whether it lists static deltas at all. */
  get hasDeltas(): boolean {
    const deltas = this.#metadata.get('ostree.static-deltas');
    return deltas?.type === 'a{sv}' && deltas.data.length > 0;
  }

  /** The static deltas to a commit that it lists: from which commit (`null`: from scratch), and their superblock's hash. */
  deltasTo(to: Checksum): Map<Checksum | null, Checksum> {
    const deltas = this.#metadata.get('ostree.static-deltas');
    return deltas?.type === 'a{sv}'
      ? listedDeltas(deltas.data, to, this.#object)
      : new Map<Checksum | null, Checksum>();
  }

  #value(key: string, type: string): unknown {
    const found = this.#metadata.get(key);
    return found?.type === type ? decode(type, found.data, { object: this.#object }) : undefined;
  }

  #collections(): Map<string, LazyArray> {
    const map = this.#metadata.get('ostree.summary.collection-map');
    const found = new Map<string, LazyArray>();
    if (map?.type !== `a{s${REFS}}`) return found;
    const entries = new LazyArray(`{s${REFS}}`, map.data, this.#object);
    for (let index = 0; index < entries.length; index++) {
      const [name, refs] = tupleMembers(`{s${REFS}}`, entries.item(index), this.#object);
      found.set(this.#string(name!), new LazyArray(REF, refs!, this.#object));
    }
    return found;
  }

  *#entries(data: Buffer): Generator<[string, { type: string; data: Buffer }]> {
    yield* dictionary(data, this.#object);
  }

  #ref(item: Buffer): [name: string, listed: Buffer] {
    const [name, listed] = tupleMembers(REF, item, this.#object);
    return [this.#string(name!), listed!];
  }

  #listed(data: Buffer, name: string): ListedRef {
    const [size, commit] = tupleMembers('(taya{sv})', data, this.#object);
    return {
      commit: checksumFromBytes(commit!, `${this.#object}: ref ${name}`),
      size: Number(size!.readBigUInt64LE()),
    };
  }

  #string(data: Buffer): string {
    return decode('s', data, { object: this.#object }) as string;
  }
}

/**
 * The static deltas to a commit of a dictionary `a{sv}` from names to checksums, as summaries and delta indexes have
 * it. Names are `FROM-TO` or `TO`, in hexadecimal; other entries are passed over. Throws `corrupt`.
 */
export function listedDeltas(data: Buffer, to: Checksum, object: string): Map<Checksum | null, Checksum> {
  const found = new Map<Checksum | null, Checksum>();
  for (const [name, value] of dictionary(data, object)) {
    if (!name.endsWith(to)) continue;
    const from = name === to ? null : name.slice(0, -to.length - 1);
    if (from !== null && (!isChecksum(from) || name !== `${from}-${to}`)) continue;
    if (value.type !== 'ay' || value.data.length !== CHECKSUM_BYTES) {
      throw new OstreeError('corrupt', `${object}: the delta ${name} has no checksum`, { object });
    }
    found.set(from, value.data.toString('hex'));
  }
  return found;
}

/** The static deltas to a commit that an index file (`delta-indexes/…`) lists. Throws `corrupt`. */
export function indexedDeltas(data: Buffer, to: Checksum, object: string): Map<Checksum | null, Checksum> {
  for (const [key, { type, data: deltas }] of dictionary(data, object)) {
    if (key === 'ostree.static-deltas' && type === 'a{sv}') return listedDeltas(deltas, to, object);
  }
  return new Map();
}

function* dictionary(data: Buffer, object: string): Generator<[string, { type: string; data: Buffer }]> {
  const entries = new LazyArray(ENTRY, data, object);
  for (let index = 0; index < entries.length; index++) {
    const [key, value] = tupleMembers(ENTRY, entries.item(index), object);
    yield [decode('s', key!, { object }) as string, variantContent(value!, object)];
  }
}
