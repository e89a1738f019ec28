import type { TestContext } from 'node:test';
import { createRepo } from '@treeline/ostree';
import pino from 'pino';
import { createAuditLog } from '../access/audit.ts';
import { type BuiltInMakers, createBuiltIns } from '../built-ins/built-ins.ts';
import type { Core } from '../core.ts';
import { lockDataFolder } from '../data-folder.ts';
import { openDatabase } from '../database/open.ts';
import { createEventLog } from '../events/log.ts';
import { createOriginReader } from '../labels/origins.ts';
import { openRepositories } from '../publish/registry.ts';
import { loadSettings, type SettingsFragment } from '../settings.ts';
import { createWakeup } from '../wakeup.ts';
import { scratch } from './scratch.ts';

/** What the server's parts work with, without a server. `abort` is what closing the server does. */
export async function createTestCore(
  t: Pick<TestContext, 'after'>,
  fragment: SettingsFragment = {},
  builtIns: BuiltInMakers = {},
): Promise<Core & { abort(): void }> {
  const dataDir = fragment.dataDir ?? `${scratch(t)}/data`;
  const settings = loadSettings({ dataDir, logLevel: 'silent', hostImage: 'test-host' }, fragment);
  const folder = lockDataFolder(dataDir);
  const db = await openDatabase(settings.database);
  const closing = new AbortController();
  t.after(async () => {
    closing.abort();
    await db.destroy();
    folder.unlock();
  });
  const events = createEventLog(db);
  const audit = createAuditLog(db);
  const store = await createRepo(folder.store, { mode: 'archive' });
  return {
    settings,
    db,
    folder,
    events,
    audit,
    repositories: await openRepositories({ db, events, audit, folder, publicNames: settings.publicRepositories }),
    log: pino({ level: 'silent' }),
    store,
    origins: createOriginReader({ db, store }),
    builtIns: createBuiltIns({ db, store }, builtIns),
    session: 'test-session',
    signal: closing.signal,
    abort: () => closing.abort(),
    work: createWakeup(),
    runs: createWakeup(),
    publishing: createWakeup(),
  };
}
