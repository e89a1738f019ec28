import { OstreeError } from '../errors.ts';
import { type Commit, metadataValue } from '../formats/commit.ts';
import type { Checksum } from '../formats/object-name.ts';

/** For what a commit is to be taken. */
export interface ExpectedBinding {
  /** The ref that names it, as the remote calls it; null for a commit that is pulled for another reason. */
  ref: string | null;
  /** The collection that the remote's own refs belong to, if that is known. */
  collection: string | null;
}

/**
 * Checks that a commit was made for the ref that names it, and for the collection of its remote: a server that answers
 * for one branch with another's commit, which may be signed and whole, is found out. Where no collection is known,
 * commits without `ostree.ref-binding` are bound to nothing. The rule and the words are libostree's
 * (`_ostree_repo_verify_bindings`).
 *
 * @throws OstreeError `invalid`
 */
export function assertBinding(checksum: Checksum, commit: Commit, expected: ExpectedBinding): void {
  const { ref, collection } = expected;
  const wrong = (message: string) =>
    new OstreeError('invalid', `Commit ${checksum}: ${message}`, {
      object: `${checksum}.commit`,
      hint: 'The ref was set to a commit that was not made for it. If that is meant so, pull with --disable-verify-bindings.',
    });
  const bound = metadataValue(commit.metadata, 'ostree.ref-binding');
  if (bound?.type !== 'as') {
    if (bound) throw wrong(`its ostree.ref-binding has the type ${bound.type}, not as`);
    if (collection === null) return;
    throw wrong('Expected commit metadata to have ref binding information, found none');
  }
  const names = bound.value as string[];
  if (ref !== null && !names.includes(ref)) {
    const others = names.length === 0 ? 'no refs' : names.map((name) => `‘${name}’`).join(', ');
    throw wrong(`Commit has no requested ref ‘${ref}’ in ref binding metadata (${others})`);
  }
  if (collection === null) return;
  const own = metadataValue(commit.metadata, 'ostree.collection-binding');
  if (own?.type !== 's') {
    throw wrong('Expected commit metadata to have collection ID binding information, found none');
  }
  if (own.value !== collection) {
    throw wrong(
      `Commit has collection ID ‘${own.value as string}’ in collection binding metadata, ` +
        `while the remote it came from has collection ID ‘${collection}’`,
    );
  }
}
