import {
  addMissingSignatures,
  copyClosure,
  hasObject,
  OstreeError,
  openRepo,
  readRef,
  type Signer,
  updateSummary,
  withTransaction,
} from '@treeline/ostree';
import type { Core } from '../core.ts';
import { messageOf } from '../errors.ts';
import { channelHeads } from '../reading/releases.ts';
import { signerOf } from './signers.ts';
import { takeOverSignatures } from './steps.ts';

/**
 * Brings a repository's folder up to what its channels hold and who signs it: after its keys have changed, and when its
 * folder was lost.
 *
 * @returns whether it is done; if not, the log says why
 */
export async function refreshRepository(core: Core, name: string): Promise<boolean> {
  const repository = core.repositories.find(name);
  if (!repository) return true;
  const { signal } = core;
  try {
    const repo = await openRepo(repository.path);
    const signers: Signer[] = [];
    for (const key of repository.settings.signing) signers.push(await signerOf(core.folder.keys, key));
    const heads = (await channelHeads(core.db)).filter((head) => head.repository === name);
    const missing = heads.map(({ commit }) => commit).filter((commit) => !hasObject(repo, 'commit', commit));
    if (missing.length > 0) await copyClosure(core.store, repo, [...new Set(missing)], { trusted: true, signal });
    for (const commit of new Set(heads.map((head) => head.commit))) {
      await takeOverSignatures(core.store, repo, commit);
      if (signers.length > 0) await addMissingSignatures(repo, commit, signers, { signal });
    }
    await withTransaction(repo, async (tx) => {
      // One that is there is moved by publications alone.
      for (const { channel, commit } of heads) if ((await readRef(repo, channel)) === null) tx.setRef(channel, commit);
    });
    await updateSummary(repo, { signers, signal, grace: repository.settings.summaryGrace });
    await core.repositories.refreshed(name);
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    const text = error instanceof OstreeError && error.hint ? `${error.message}. ${error.hint}` : messageOf(error);
    core.log.error({ err: error, repository: name }, `the repository could not be brought up to date: ${text}`);
    return false;
  }
}
