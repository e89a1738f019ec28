import { OstreeError } from '@treeline/ostree/errors.ts';
import { listRefs } from '@treeline/ostree/repo/refs.ts';
import { withTransaction } from '@treeline/ostree/repo/transaction.ts';
import { UsageError } from '../options.ts';
import { commitOf, openNamedRepo, type RepoVerb } from '../verb.ts';

export const reset: RepoVerb = {
  usage: 'REF COMMIT',
  options: {},
  async run(parsed, signal) {
    const [ref, target] = parsed.positionals;
    if (ref === undefined || target === undefined) {
      throw new UsageError('A REF and COMMIT argument is required', { showHelp: true });
    }
    const repo = await openNamedRepo(parsed);
    if (!(await listRefs(repo)).has(ref)) throw new OstreeError('not-found', `Invalid ref '${ref}'`);
    const commit = await commitOf(repo, target);
    await withTransaction(repo, async (tx) => tx.setRef(ref, commit), { signal });
    return 0;
  },
};
