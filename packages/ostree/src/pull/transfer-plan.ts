import type { Checksum } from '../formats/object-name.ts';
import type { CollectionRef } from '../repo/collection-refs.ts';
import type { Repo } from '../repo/repo.ts';
import type { Verification } from '../sign/remote-verification.ts';
import type { PulledCommit } from './history.ts';
import type { PullPrediction } from './prediction.ts';
import type { ProgressMeter } from './progress.ts';
import type { RemoteSummary } from './remote-summary.ts';
import type { Subpaths } from './subpaths.ts';

/** Whether static deltas may, must or must not be used. */
export type DeltaUse = 'auto' | 'never' | 'required';

/** A ref to set here when everything is there. */
export interface RefToSet {
  /** `name` or `remote:name`, or the ref of a collection that is mirrored. */
  target: string | CollectionRef;
  commit: Checksum;
}

/** A pull of which it is settled what is asked for. */
export interface Transfer {
  /** The commits that are asked for, with the bytes of the commit object if they are known. */
  heads: ReadonlyMap<Checksum, number | null>;
  refs: readonly RefToSet[];
  /** Refs here that are likely to name something similar to a commit that is asked for, and what the remote calls it. */
  related: ReadonlyMap<Checksum, { name: string; here: readonly string[] }>;
  depth: number;
  commitMetadataOnly: boolean;
  subpaths: Subpaths | undefined;
  bareUserOnlyFiles: boolean;
  trusted: boolean;
  deltas: DeltaUse;
  summary: RemoteSummary | null;
  caches: readonly Repo[];
  verification: Verification | null;
  /** Called with all commits before anything of them is fetched. Throws for one that is not to be had. */
  check: (commits: ReadonlyMap<Checksum, PulledCommit>) => void;
  dryRun: boolean;
  meter: ProgressMeter;
  signal: AbortSignal | undefined;
}

/** What a transfer has done. */
export interface TransferStats {
  metadataFetched: number;
  contentFetched: number;
  metadataFromCaches: number;
  contentFromCaches: number;
  detachedMissing: number;
  deltaParts: number;
  bytesUnpacked: number;
  contentWritten: number;
  prediction: PullPrediction | undefined;
}
