import type { Caller } from '../access/caller.ts';

/** A caller who may everything, for tests of what is below the API. */
export const ADMIN: Caller = {
  ...{ name: 'admin', kind: 'person', session: null, address: '192.0.2.1' },
  may: () => true,
};
