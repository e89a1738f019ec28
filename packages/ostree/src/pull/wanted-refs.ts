import { OstreeError } from '../errors.ts';
import { type Checksum, isChecksum } from '../formats/object-name.ts';
import {
  assertCollectionId,
  type CollectionRef,
  listCollectionRefs,
  readCollectionRef,
} from '../repo/collection-refs.ts';
import { isRefName, listRefs, readRef, refPath } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { noRepository, type Remote, refuseForbidden } from './remote.ts';
import type { RemoteSummary } from './remote-summary.ts';

/** A ref that somebody asked for. */
export interface AskedRef {
  /** As the remote calls it. */
  name: string;
  collection: string | null;
  /** Pull this commit, whatever the ref names now. */
  commit: Checksum | null;
}

/** A ref that is going to be set. */
export interface WantedRef {
  name: string;
  /** The collection that it belongs to, where that is known: a mirror keeps it under that. */
  collection: string | null;
  commit: Checksum;
  /** Bytes of the commit object, if the summary says. */
  size: number | null;
}

/** A ref's file is one line. */
const MAX_REF_BYTES = 1024;

/**
 * Reads `NAME` and `NAME@COMMIT`.
 *
 * @throws OstreeError `invalid`
 */
export function askedRef(text: string): AskedRef {
  const at = text.lastIndexOf('@');
  if (at < 0) return { name: text, collection: null, commit: null };
  const commit = text.slice(at + 1);
  if (!isChecksum(commit)) throw new OstreeError('invalid', `Invalid rev ${commit}`);
  return { name: text.slice(0, at), collection: null, commit };
}

/** Throws `invalid` unless the refs can be set here under this name of their remote. */
export function assertRefNames(repo: Repo, refs: readonly AskedRef[], remote: string | undefined): void {
  for (const { name, collection } of refs) {
    refPath(repo, remote === undefined ? name : `${remote}:${name}`);
    if (collection !== null) assertCollectionId(collection);
  }
}

/** All the refs that a remote has. Throws `not-found` when it does not say. */
export async function allRefs(remote: Remote, summary: RemoteSummary | null): Promise<WantedRef[]> {
  if (remote.repo) {
    const own = [...(await listRefs(remote.repo, undefined, { localOnly: true }))].map(
      ([name, commit]): WantedRef => ({ name, collection: remote.collection, commit, size: null }),
    );
    const mirrored = await listCollectionRefs(remote.repo, { excludeRemotes: true });
    const others = mirrored.filter(({ collection }) => collection !== remote.collection);
    return [...own, ...others.map(({ ref, collection, commit }) => ({ name: ref, collection, commit, size: null }))];
  }
  if (summary) {
    const found: WantedRef[] = [];
    for (const ref of summary.refs()) {
      if (ref.collection !== null) assertCollectionId(ref.collection);
      if (isRefName(ref.name)) found.push(ref);
    }
    return found;
  }
  refuseForbidden(remote, ['summary', ...(remote.hasConfig ? [] : ['config'])]);
  if (!remote.hasConfig) throw noRepository(remote, 'neither config nor summary');
  throw new OstreeError(
    'not-found',
    `${remote.where}: Fetching all refs was requested in mirror mode, but remote repository does not have a summary`,
    { hint: 'Say which refs to pull.' },
  );
}

/**
 * The commits that refs name: from the remote's summary, or where that lacks one, from the ref's own file.
 *
 * @param onlySummary its refs are signed, those beside it are not
 * @throws OstreeError `not-found`; `network` when the server refuses to say
 */
export async function resolveRefs(
  remote: Remote,
  asked: readonly AskedRef[],
  summary: RemoteSummary | null,
  onlySummary: boolean,
): Promise<WantedRef[]> {
  const found: WantedRef[] = [];
  for (const one of asked) {
    const collection = one.collection ?? summary?.collection ?? remote.collection;
    if (one.commit) found.push({ ...one, commit: one.commit, size: null });
    else found.push(await resolveRef(remote, { ...one, collection }, summary, onlySummary));
  }
  return found;
}

async function resolveRef(
  remote: Remote,
  { name, collection }: AskedRef,
  summary: RemoteSummary | null,
  onlySummary: boolean,
): Promise<WantedRef> {
  if (remote.repo && !onlySummary) {
    const commit = await readLocalRef(remote.repo, name, collection, remote.collection);
    if (commit) return { name, collection, commit, size: null };
    throw new OstreeError('not-found', `Refspec '${name}' not found: ${remote.where} has no ref ${name}`);
  }
  const listed = summary?.find(name, collection);
  if (listed) return { name, collection, ...listed };
  const own = collection === null || collection === (summary?.collection ?? remote.collection);
  const file = own ? `refs/heads/${name}` : `refs/mirrors/${collection}/${name}`;
  if (!onlySummary) {
    const data = await remote.file(file, MAX_REF_BYTES);
    if (data) return { name, collection, commit: checksumInRef(data, name, own ? null : collection), size: null };
  }
  throw noRef(remote, { name, file, collection: own ? null : collection }, summary);
}

async function readLocalRef(
  repo: Repo,
  name: string,
  collection: string | null,
  own: string | null,
): Promise<Checksum | null> {
  if (collection === null || collection === own) return readRef(repo, name);
  const ref: CollectionRef = { collection, ref: name };
  return readCollectionRef(repo, ref);
}

function checksumInRef(data: Buffer, name: string, collection: string | null): Checksum {
  const text = data.toString('latin1').trimEnd();
  if (isChecksum(text)) return text;
  const shown = text.slice(0, 64).replaceAll('\n', ' ');
  throw new OstreeError(
    'network',
    `Fetching checksum for ref (${collection ?? '(empty)'}, ${name}): Invalid rev ${shown}`,
    {
      hint: 'Check the address; a web server may be answering with a page of its own.',
    },
  );
}

function noRef(
  remote: Remote,
  { name, file, collection }: { name: string; file: string; collection: string | null },
  summary: RemoteSummary | null,
): OstreeError {
  const branch = collection === null ? `'${name}'` : `(${collection}, ${name})`;
  const forbidden = remote.forbidden(file);
  if (!summary) {
    refuseForbidden(remote, remote.hasConfig ? [file] : [file, 'summary', 'config']);
    if (!remote.hasConfig) return noRepository(remote, `neither config, nor summary, nor ${file}`);
    return new OstreeError('not-found', `${remote.where}: has no ref ${name}: for ${file} the server answered 404`);
  }
  const said = forbidden === undefined ? '' : `, and for ${file} the server answered ${forbidden}`;
  return new OstreeError(
    'not-found',
    `No such branch ${branch} in repository summary: ${remote.where} has no ref ${name}${said}`,
    refHint(summary),
  );
}

function refHint(summary: RemoteSummary): { hint?: string } {
  const names: string[] = [];
  for (const { name } of summary.refs()) if (names.push(name) > 8) break;
  if (names.length === 0) return {};
  return { hint: `It has ${names.slice(0, 8).join(', ')}${names.length > 8 ? ' and more' : ''}.` };
}
