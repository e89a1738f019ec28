import { type Repo, type Signer, updateSummary } from '@treeline/ostree';
import type { Core } from '../core.ts';
import type { PublishedRepository } from '../publish/registry.ts';
import { signerOf } from '../publish/signers.ts';

/** Writes delta indexes and summary of a repository anew, signed as its settings say. */
export async function renewSummary(core: Core, { settings }: PublishedRepository, repo: Repo): Promise<void> {
  const signers: Signer[] = [];
  for (const key of settings.signing) signers.push(await signerOf(core.folder.keys, key));
  await updateSummary(repo, { signers, signal: core.signal, grace: settings.summaryGrace });
}
