import { ACTIONS, type Action } from './caller.ts';

/** What each role may do. `force` is in none but `admin`: it is given by name, to whom it is given. */
export const ROLES = {
  viewer: ['read'],
  developer: ['read', 'run', 'push'],
  publisher: ['read', 'run', 'push', 'label', 'publish'],
  operator: ['read', 'operate'],
  admin: ACTIONS,
} as const satisfies Record<string, readonly Action[]>;
export type Role = keyof typeof ROLES;

export const ROLE_NAMES = Object.keys(ROLES) as [Role, ...Role[]];
