import type { Tree } from '../model.ts';

/**
 * What a channel holds. `run` grows with each run; a publish by hand (`byHand`) has the number of the newest run of its
 * time, and stays when that run ends after it.
 */
export type Release = {
  readonly commit: string;
  readonly tree: Tree;
  readonly run: number;
  readonly byHand?: boolean;
};

/** `expect`: the commit that the channel must hold for this to happen, null = none; absent = whatever it holds. */
export type Candidate = Release & { readonly expect?: string | null };

export type Promotion =
  /** Move the ref from `replaces` to the candidate, if it still is at `replaces` then. */
  | { readonly action: 'promote'; readonly replaces: string | null }
  /** The channel has this tree already: leave the commit, but note the candidate's run as its run. */
  | { readonly action: 'confirm'; readonly commit: string }
  /** The release of a newer run is there, or one by hand that was decided after the candidate's run began. */
  | { readonly action: 'superseded'; readonly by: Release }
  /** The channel does not hold what was expected. */
  | { readonly action: 'conflict'; readonly holds: string | null };

/**
 * Whether a candidate becomes the release of a channel. A run never replaces the release of a newer run, nor what
 * somebody published by hand after it began.
 */
export function promotion(current: Release | null, candidate: Candidate): Promotion {
  if (candidate.expect !== undefined && candidate.expect !== (current?.commit ?? null)) {
    return { action: 'conflict', holds: current?.commit ?? null };
  }
  if (current === null) return { action: 'promote', replaces: null };
  const decidedByHand = current.byHand === true && candidate.byHand !== true;
  if (current.run > candidate.run || (current.run === candidate.run && decidedByHand)) {
    return { action: 'superseded', by: current };
  }
  if (current.tree.contents === candidate.tree.contents && current.tree.meta === candidate.tree.meta) {
    // An older run that ends late must find that a newer one wanted this tree.
    return { action: 'confirm', commit: current.commit };
  }
  return { action: 'promote', replaces: current.commit };
}
