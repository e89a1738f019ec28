import { lstatSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { CheckoutStats } from '@treeline/ostree';
import { type BringOptions, bring } from './bring.ts';
import { type Home, openHome } from './home.ts';
import { intoPlace } from './place.ts';
import {
  BASES,
  identityOf,
  newWorkspaceId,
  saveRecord,
  type Workspace,
  type WorkspaceRecord,
  workspaceOf,
} from './record.ts';
import { tidy } from './tidy.ts';

/** What a workspace is made of. */
export interface Wanted {
  commit: string;
  /** What the user called it. */
  name: string;
  /** `repository:channel`, if it came by one. */
  channel: string | null;
}

export interface MakeOptions extends Omit<BringOptions, 'ref'> {
  userMode: boolean;
  onFiles?: (progress: CheckoutStats) => void;
}

export interface Made {
  workspace: Workspace;
  stats: CheckoutStats;
  /** Whether files are links to unpacked objects that the next checkout uses again. */
  linked: boolean;
}

/**
 * Makes a workspace: a folder with the tree of a commit, and a record of it. Files are linked to unpacked objects of the
 * user's own, no two workspaces to the same, so that whatever is done to them changes nothing elsewhere.
 *
 * @param folder does not exist, or is empty
 */
export async function makeWorkspace(wanted: Wanted, folder: string, o: MakeOptions): Promise<Made> {
  const { checkout, indexCheckout, readCommit } = await import('@treeline/ostree');
  const home = await openHome();
  const id = newWorkspaceId();
  // First: what it removes cannot be what is being made.
  await tidy(home, o.signal);
  await bring(home.repo, wanted.commit, { ...o, ref: `${BASES}${id}` });
  try {
    const { tree } = await readCommit(home.repo, wanted.commit);
    const linked = lstatSync(dirname(folder)).dev === lstatSync(home.cache).dev;
    const stats = await intoPlace(folder, (to) =>
      checkout(home.repo, tree, to, {
        userMode: o.userMode,
        signal: o.signal,
        ...(linked ? { exclusiveCache: home.cache } : {}),
        ...(o.onFiles ? { onProgress: o.onFiles } : {}),
      }),
    );
    const now = new Date().toISOString();
    const record: WorkspaceRecord = {
      version: 1,
      path: folder,
      ...identityOf(folder),
      base: wanted.commit,
      origin: { commit: wanted.commit, name: wanted.name },
      channel: wanted.channel,
      userMode: o.userMode,
      ref: null,
      createdAt: now,
      usedAt: now,
    };
    const workspace = workspaceOf(home, id, record);
    await saveRecord(home, id, record);
    await indexCheckout(home.repo, tree, folder, workspace.index);
    return { workspace, stats, linked };
  } catch (error) {
    await forget(home, id);
    throw error;
  }
}

async function forget(home: Home, id: string): Promise<void> {
  const { setRef } = await import('@treeline/ostree');
  await rm(join(home.workspaces, id), { recursive: true, force: true });
  await setRef(home.repo, `${BASES}${id}`, null).catch(() => {});
}
