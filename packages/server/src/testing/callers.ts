import type { Authenticator } from '../access/authenticator.ts';
import type { Action, Caller } from '../access/caller.ts';
import { ServerError } from '../errors.ts';

/** A caller who may everything, for tests of what is below the API. */
export const ADMIN: Caller = {
  ...{ name: 'admin', kind: 'person', session: null, address: '192.0.2.1' },
  may: () => true,
};

/** Knows callers by names that they send as their tokens: what each may do; who is not among them is nobody. */
export function authenticatorOf(names: Record<string, readonly Action[]>): Authenticator {
  return {
    authenticate(req) {
      const name = req.headers.authorization?.replace('Bearer ', '') ?? '';
      const actions = names[name];
      if (actions === undefined) throw new ServerError('unauthenticated', `nobody is called ${name}`);
      return { ...ADMIN, name, may: (action) => actions.includes(action) };
    },
  };
}
