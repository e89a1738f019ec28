import type { PushCaller } from '@treeline/ostree';
import { type Caller, demand } from '../access/caller.ts';
import { BUILT_IN_REFS } from '../built-ins/note.ts';
import { ServerError } from '../errors.ts';

/** Refs of the store that the server sets by itself: results, sources, what jobs see of these, what comes with Treeline. */
export const OWN_PREFIXES = ['results', 'sources', 'filtered', BUILT_IN_REFS] as const;

/** Throws for a ref that is not for people to move. */
function assertPushable(ref: string): void {
  const prefix = OWN_PREFIXES.find((one) => ref === one || ref.startsWith(`${one}/`));
  if (prefix === undefined) return;
  throw new ServerError('forbidden', `refs below ${prefix}/ are the server's own: ${ref} cannot be pushed`, {
    hint: 'Push to another name.',
  });
}

/** A caller as the engine asks about him. */
export function pushCaller(caller: Caller): PushCaller {
  return {
    name: caller.name,
    demand(action, ref) {
      assertPushable(ref);
      demand(caller, action, ref);
    },
  };
}
