import type { Migration } from 'kysely';
import { core } from './core.ts';

/** All migrations, applied in the order of their names. A released one is never changed: add another. */
export const migrations: Record<string, Migration> = {
  '0001-core': core,
};
