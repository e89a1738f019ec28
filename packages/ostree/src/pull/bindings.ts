import { OstreeError } from '../errors.ts';
import { type Commit, metadataValue } from '../formats/commit.ts';
import type { Checksum } from '../formats/object-name.ts';

/**
 * Checks that a commit was made for the ref that names it: a server that answers for one branch with another's
 * commit, which may be signed and whole, is found out. Commits without `ostree.ref-binding` are bound to nothing.
 * The rule is libostree's for repositories without collection ids (ostree-repo-pull-verify.c).
 *
 * @param ref as the remote calls it
 * @throws OstreeError `invalid`
 */
export function assertBinding(ref: string, checksum: Checksum, commit: Commit, where: string | URL): void {
  const bound = metadataValue(commit.metadata, 'ostree.ref-binding');
  if (!bound) return;
  const object = `${checksum}.commit`;
  if (bound.type !== 'as') {
    throw new OstreeError('invalid', `${object}: its ostree.ref-binding has the type ${bound.type}, not as`, {
      object,
    });
  }
  const names = bound.value as string[];
  if (names.includes(ref)) return;
  const others = names.length === 0 ? 'no ref' : names.map((name) => JSON.stringify(name)).join(', ');
  throw new OstreeError(
    'invalid',
    `${where}: the ref ${JSON.stringify(ref)} names the commit ${checksum}, which is bound to ${others}`,
    {
      object,
      hint: 'The ref was set to a commit that was not made for it. If that is meant so, pull without verifying bindings.',
    },
  );
}
