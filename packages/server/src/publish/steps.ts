import {
  addMissingSignatures,
  copyClosure,
  hasObject,
  mergeDetachedMetadata,
  type Repo,
  readDetachedMetadata,
  updateDeltaIndexes,
  updateSummary,
  withTransaction,
} from '@treeline/ostree';
import { type Admission, admit } from '../labels/admission.ts';
import { noteAdmissions } from './admissions.ts';
import { madeDeltas, makeDeltas } from './deltas.ts';
import type { Work } from './publication.ts';
import { keyName } from './signers.ts';
import type { PublicationStep } from './tables.ts';
import { takeBack } from './take-back.ts';

/** That a key has signed a commit. */
export interface SignatureNote {
  commit: string;
  key: string;
}

/** What each step of a publication does. Each finds out by itself what is done already. */
export const doing: Record<PublicationStep, (work: Work) => Promise<void>> = {
  /** Whether the repository admits them: what nobody may have must not get into the folder. */
  async labels(work) {
    await admitAll(work);
  },

  /** The commits' closures: nothing else of the store gets into the folder. */
  async closure({ core, repo, releases, signal }) {
    // A commit that is there is whole: it is stored last. Copying it again would put back the store's signatures.
    const missing = releases.map(({ commit }) => commit).filter((commit) => !hasObject(repo, 'commit', commit));
    if (missing.length > 0) await copyClosure(core.store, repo, [...new Set(missing)], { trusted: true, signal });
  },

  async signatures({ core, repo, releases, repository, signers, signal, note }) {
    const notes: SignatureNote[] = [];
    for (const commit of new Set(releases.map((release) => release.commit))) {
      await takeOverSignatures(core.store, repo, commit);
      if (signers.length === 0) continue;
      await addMissingSignatures(repo, commit, signers, { signal });
      notes.push(...repository.settings.signing.map((key) => ({ commit, key: keyName(key) })));
    }
    if (notes.length > 0) await note({ signatures: JSON.stringify(notes) });
  },

  deltas: makeDeltas,

  async refs(work) {
    const { repo, releases, signal } = work;
    // Deltas take their time, and somebody may have put a label on something meanwhile.
    try {
      await admitAll(work);
    } catch (error) {
      await takeBack(work.core, repo, work);
      throw error;
    }
    await withTransaction(
      repo,
      async (tx) => {
        for (const { channel, commit } of releases) tx.setRef(channel, commit);
      },
      { signal },
    );
  },

  async indexes({ repo, releases, signal }) {
    for (const to of new Set(releases.map(({ commit }) => commit))) await updateDeltaIndexes(repo, { to, signal });
  },

  /** Done when the new summary can be seen: that the one before fits its signature goes on for a while after that. */
  async summary({ core, publication, releases, repo, repository, signers, signal, linger }) {
    // The folder is the server's alone, so only what this publication has changed is looked at.
    const deltas = await madeDeltas(core.db, publication.number);
    const changed = { refs: releases.map(({ channel }) => channel), deltas };
    const { promise: visible, resolve, reject } = Promise.withResolvers<void>();
    const grace = repository.settings.summaryGrace;
    const updated = updateSummary(repo, { signers, signal, grace, changed, onVisible: resolve });
    linger(updated.then(resolve, reject));
    await visible;
  },
};

/** Asks for each commit, and writes down once what was declared releasable and let pass. */
async function admitAll({ core, publication, releases, repository }: Work): Promise<void> {
  const { name, settings } = repository;
  const admissions: Admission[] = [];
  for (const commit of new Set(releases.map((release) => release.commit))) {
    const run = publication.run_id;
    admissions.push(await admit(core, { repository: name, admits: settings.admits, commit, run }));
  }
  await noteAdmissions(core, { publication, releases, admissions });
}

/** Signatures that a commit came with when it was pushed into the store, perhaps after it was first published. */
export async function takeOverSignatures(store: Repo, repo: Repo, commit: string): Promise<void> {
  const theirs = await readDetachedMetadata(store, commit);
  if (theirs) await mergeDetachedMetadata(repo, commit, theirs);
}
