import { OstreeError } from '../errors.ts';
import { type Commit, metadataValue } from '../formats/commit.ts';
import type { Checksum } from '../formats/object-name.ts';
import { assertBinding } from '../pull/bindings.ts';
import { isCollectionId, readCollectionRef } from '../repo/collection-refs.ts';
import { isRefName, tryResolveRev } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';

/** Why a commit is not bound to a ref that names it, in libostree's words; null when it is. */
export function bindingFault(
  checksum: Checksum,
  commit: Commit,
  ref: { name: string; collection: string | null },
): string | null {
  try {
    assertBinding(checksum, commit, { ref: ref.name, collection: ref.collection });
    return null;
  } catch (error) {
    if (error instanceof OstreeError && error.code === 'invalid') return error.message;
    throw error;
  }
}

/** Why a ref that a commit is bound to does not name it, in libostree's words; null when all do. */
export async function backRefFault(repo: Repo, checksum: Checksum, { metadata }: Commit): Promise<string | null> {
  const bound = metadataValue(metadata, 'ostree.ref-binding');
  const own = metadataValue(metadata, 'ostree.collection-binding');
  const collection = own?.type === 's' ? (own.value as string) : null;
  for (const ref of bound?.type === 'as' ? (bound.value as string[]) : []) {
    const named = await lookUp(repo, collection, ref);
    if (named === checksum) continue;
    const what = collection === null ? `Ref ‘${ref}’` : `Collection–ref (${collection}, ${ref})`;
    const fault = named === null ? 'does not exist' : 'does not resolve to that commit';
    return `${what} in bindings for commit ${checksum} ${fault}`;
  }
  return null;
}

async function lookUp(repo: Repo, collection: string | null, ref: string): Promise<Checksum | null> {
  if (!isRefName(ref)) return null;
  if (collection === null) return tryResolveRev(repo, ref);
  return isCollectionId(collection) ? readCollectionRef(repo, { collection, ref }) : null;
}
