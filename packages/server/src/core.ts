import type { Repo } from '@treeline/ostree';
import type { Logger } from 'pino';
import type { AuditLog } from './access/audit.ts';
import type { BuiltIns } from './built-ins/built-ins.ts';
import type { DataFolder } from './data-folder.ts';
import type { Database } from './database/open.ts';
import type { EventLog } from './events/log.ts';
import type { OriginReader } from './labels/origins.ts';
import type { RepositoryRegistry } from './publish/registry.ts';
import type { Settings } from './settings.ts';
import type { Wakeup } from './wakeup.ts';

/** What every capability of the server works with. Made once by `server.ts`. */
export interface Core {
  /** Another one when they were read again (`reload.ts`): ask each time. */
  settings: Settings;
  db: Database;
  events: EventLog;
  audit: AuditLog;
  log: Logger;
  /** The private store. */
  store: Repo;
  folder: DataFolder;
  /** What comes with Treeline. */
  builtIns: BuiltIns;
  /** The published repositories. */
  repositories: RepositoryRegistry;
  /** What commits were made from. */
  origins: OriginReader;
  /** Names this life of the server process: leases of an older life are recognised by it. */
  session: string;
  /** Aborts when the server closes. */
  signal: AbortSignal;
  /** An execution was queued, finished or lost: those who wait for work look again. */
  work: Wakeup;
  /** A run may have a next step. */
  runs: Wakeup;
  /** A release waits to be published. */
  publishing: Wakeup;
}
