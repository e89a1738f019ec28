import type { BootLoaderKind } from '../boot-loader/boot-loader.ts';
import type { BoardSystem } from '../difference/difference.ts';
import type { TransferSize } from '../gateway/transfer-size.ts';
import type { BoardView } from '../machine/index.ts';

/** A tree that can be booted. */
export interface Deployment {
  commit: string;
  /** Tells apart deployments of one commit. */
  serial: number;
}

export interface BoardStatus extends BoardView {
  /** Deployment that runs now; null if none does. */
  running: Deployment | null;
  /** In boot order: the default first, then what the boot loader falls back to, then others. */
  deployments: readonly Deployment[];
}

/** What a pull cost: see `Transfer` of the state file. */
export interface PullReport {
  objects: number;
  bytes: number;
  totalObjects: number | null;
  totalBytes: number | null;
}

export interface PullProgress {
  objects: number;
  bytes: number;
}

/** Repository of a developer that the server sends the board to for a release, instead of to the gateway. */
export interface Elsewhere {
  /** http or https. Nothing is proved to it: the release is named by its checksum, so it cannot send another one. */
  url: string;
  /** What the release is called there, if that was said. */
  ref: string | null;
}

export interface StageOptions {
  /** Where the release is fetched from; null: from the gateway. */
  at: Elsewhere | null;
  signal?: AbortSignal | undefined;
}

/** What fetching a release will take; numbers are null where nobody can say. */
export interface DownloadPlan {
  objects: number | null;
  /** Bytes of bodies on the wire. */
  bytes: number | null;
  /** Bytes of what is new when it is unpacked. */
  unpacked: number | null;
  /** Static delta that is smaller than the objects themselves. */
  delta: NonNullable<TransferSize['delta']> | null;
}

export interface PullOptions extends StageOptions {
  /** Ref under which the release was offered. */
  channel: string;
  plan: DownloadPlan;
  /** Bytes a second at most; null: as fast as it goes. */
  limit: number | null;
  onProgress?: ((progress: PullProgress) => void) | undefined;
}

/** Where a deployment's health checks are and how they run. */
export interface CheckPlace {
  /** Folder that is the deployment's root. */
  root: string;
  /** Its /etc and /var on this machine. */
  etc: string;
  var: string;
  /** `host`: the deployment is the running system; `sandbox`: it is a folder, entered with bubblewrap. */
  run: 'host' | 'sandbox';
}

/**
 * What the agent needs of a board. Every operation may be cut off at any moment and done again: the result is the
 * same, and at every moment the boot order names complete deployments only.
 */
export interface Deployer {
  readonly kind: 'virtual-board' | 'ostree-sysroot';
  /** Boots the board if it is off. On a real board it is on: the agent runs on it. */
  powerOn(): Promise<void>;
  status(): Promise<BoardStatus>;
  /**
   * How much a pull of a commit will fetch.
   *
   * @throws AgentError `unreachable`, `refused`
   */
  plan(commit: string, o: StageOptions): Promise<DownloadPlan>;
  /**
   * Makes sure that a release finds room, where that is known; gives up what is neither running nor the fallback for it.
   *
   * @throws AgentError `no-space`
   */
  makeRoom(plan: DownloadPlan): Promise<void>;
  /**
   * Fetches what the board lacks of a commit.
   *
   * @throws AgentError `release-unusable` if the commit can never be had; any other error is worth another try.
   */
  pull(commit: string, o: PullOptions): Promise<PullReport>;
  /**
   * Lays the commit out beside the running deployment. The boot order is unchanged. Objects that turn out to be damaged
   * are fetched anew.
   *
   * @throws AgentError `release-unusable` if the tree is none that can be booted.
   */
  stage(commit: string, o: StageOptions): Promise<void>;
  /** Makes a staged commit the default of the next boots, counted, with the running one to fall back to. */
  activate(commit: string): Promise<void>;
  /** Makes an older deployment the default again; nothing is counted. */
  rollback(commit: string): Promise<void>;
  /** Resolves when the board is up again; on a real board, never: it rejects when the system ends the agent. */
  reboot(signal?: AbortSignal): Promise<void>;
  /** The running deployment proved good: the boot loader no longer counts, and what is neither it nor its fallback goes. */
  markGood(): Promise<void>;
  /** After a fall back: the running deployment becomes the default, and what is bad cannot be booted any more. */
  settle(): Promise<void>;
  /** This boot is no update's that would have to prove good. */
  endTrial(): Promise<void>;
  /** Which boot loader counts here. */
  bootLoader(): Promise<BootLoaderKind>;
  /** Place of the running deployment's health checks. */
  checks(): Promise<CheckPlace>;
  /** The running system, to find what was changed in it by hand. */
  system(): Promise<BoardSystem>;
}

/**
 * Called between the steps of an operation, with the name of the step that comes next. Tests throw from it: everything
 * that is on disk at that moment must be something that can be continued.
 */
export type Checkpoint = (step: string) => void | Promise<void>;
