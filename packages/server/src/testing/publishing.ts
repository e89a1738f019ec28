import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openRepo, type Repo, type Tree, withTransaction, writeCommit } from '@treeline/ostree';
import { until } from '@treeline/ostree/testing/until.ts';
import type { Core } from '../core.ts';
import { publishByHand, readPublication } from '../publish/by-hand.ts';
import { type DecidedPublication, decidePublication, type WishedRelease } from '../publish/decide.ts';
import { storeFiles } from './runner.ts';

const run = promisify(execFile);

export interface Stored {
  commit: string;
  tree: Tree;
}

export const BY = { name: 'ann', address: null };

/** A commit of these files in the store. */
export async function storeCommit(core: Core, files: Record<string, string>): Promise<Stored> {
  const tree = await storeFiles(core.folder.path, files);
  const commit = await withTransaction(core.store, (tx) => writeCommit(tx, { tree, subject: JSON.stringify(files) }));
  return { commit, tree };
}

/** Decides a publication by hand; a publisher has to be running for it to be made. */
export async function decideByHand(
  core: Core,
  releases: Record<string, Stored>,
  o: { repository?: string; expect?: Record<string, string | null> } = {},
): Promise<DecidedPublication> {
  const { repository = 'public', expect = {} } = o;
  const items = Object.entries(releases).map(
    ([channel, { commit, tree }]): WishedRelease => ({
      ...{ channel, commit, tree, artifact: null },
      ...(channel in expect ? { expect: expect[channel] ?? null } : {}),
    }),
  );
  return await core.db
    .transaction()
    .execute((trx) => decidePublication(trx, core, { repository, items, run: null, by: BY, reason: 'test' }));
}

/** Publishes by hand and waits. */
export async function publishTogether(
  core: Core,
  releases: Record<string, Stored>,
  repository = 'public',
): Promise<DecidedPublication> {
  const items = Object.entries(releases).map(([channel, { commit }]) => ({ channel, commit, artifact: null }));
  return await publishByHand(core, { repository, items, reason: 'test', by: BY });
}

/** Waits until a publication is not being made any more. */
export async function ended(core: Core, number: number): Promise<DecidedPublication> {
  let now: DecidedPublication;
  const isOver = async () => {
    now = await readPublication(core, number);
    return now.publication.state !== 'publishing';
  };
  await until(isOver, `the end of publication ${number}`);
  return now!;
}

export function publishedRepo(core: Core, repository = 'public'): Promise<Repo> {
  return openRepo(join(core.folder.repos, repository));
}

/** Runs Debian's ostree and returns what it prints. */
export async function ostree(...args: string[]): Promise<string> {
  return (await run('ostree', args)).stdout.trim();
}
