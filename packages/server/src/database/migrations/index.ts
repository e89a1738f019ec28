import type { Migration } from 'kysely';
import { access } from '../../access/migration.ts';
import { deviceDetails } from '../../devices/details-migration.ts';
import { devices } from '../../devices/migration.ts';
import { pointers } from '../../devices/pointers-migration.ts';
import { differences } from '../../differences/migration.ts';
import { lab } from '../../lab/migration.ts';
import { labels } from '../../labels/migration.ts';
import { repositories } from '../../publish/migration.ts';
import { refMoves } from '../../push/migration.ts';
import { retention } from '../../retention/migration.ts';
import { unused } from '../../retention/unused-migration.ts';
import { core } from './core.ts';

/** All migrations, applied in the order of their names. A released one is never changed: add another. */
export const migrations: Record<string, Migration> = {
  '0001-core': core,
  '0002-devices': devices,
  '0003-access': access,
  '0004-repositories': repositories,
  '0006-labels': labels,
  '0007-retention': retention,
  '0008-pointers': pointers,
  '0009-unused': unused,
  '0010-ref-moves': refMoves,
  '0011-lab': lab,
  '0012-differences': differences,
  '0013-device-details': deviceDetails,
};
