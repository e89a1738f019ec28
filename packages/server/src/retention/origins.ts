import { type Checksum, metadataValue, OstreeError, type Repo, readCommit } from '@treeline/ostree';
import { Provenance } from '../api/schema.ts';
import { PROVENANCE } from '../executions/outputs.ts';
import { REBOUND_FROM } from '../publish/bindings.ts';

/** What a commit refers to. It never changes, so it is read once. */
export type Origins = Map<Checksum, readonly Checksum[]>;

/** What a commit says that it was made from: its parent, the one that it was rebound from, and by provenance. */
export async function originsOf(store: Repo, known: Origins, commit: Checksum): Promise<readonly Checksum[]> {
  const before = known.get(commit);
  if (before) return before;
  const origins = await readOrigins(store, commit);
  known.set(commit, origins);
  return origins;
}

async function readOrigins(store: Repo, commit: Checksum): Promise<Checksum[]> {
  let read: Awaited<ReturnType<typeof readCommit>>;
  try {
    read = await readCommit(store, commit);
  } catch (error) {
    if (error instanceof OstreeError && error.code === 'not-found') return [];
    throw error;
  }
  const { parent, metadata } = read;
  const from = parent === null ? [] : [parent];
  const original = metadataValue(metadata, REBOUND_FROM)?.value;
  if (typeof original === 'string') from.push(original);
  const text = metadataValue(metadata, PROVENANCE)?.value;
  if (typeof text !== 'string') return from;
  try {
    const provenance = Provenance.parse(JSON.parse(text));
    return [...from, ...provenance.inputs.map((input) => input.commit), ...provenance.sources.map((one) => one.commit)];
  } catch {
    return from; // somebody else's
  }
}
