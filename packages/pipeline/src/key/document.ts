import type { Tree } from '../model.ts';

/**
 * The machine a result was made on, as far as a result may depend on it. `emulated` names those of the demands (an
 * architecture, `gpu`, a label) that the runner only pretends to meet; sorted. A result that was made that way has
 * another key than the real one.
 */
export type KeyPlatform = {
  readonly arch: string;
  readonly gpu: boolean;
  /** Sorted. */
  readonly labels: readonly string[];
  readonly emulated: readonly string[];
};

/** Everything that the result of a command job may depend on. Limits (time, disk, memory) are not part of it. */
export type RunKeyDocument = {
  readonly version: 1;
  readonly kind: 'run';
  readonly command: string;
  /** `host`: the fingerprint of the runner's own system. */
  readonly image: { readonly tree: Tree } | { readonly host: string };
  /** What the job sees of its repository, after `paths`. null = nothing. */
  readonly source: Tree | null;
  readonly inputs: Readonly<Record<string, Tree>>;
  readonly environment: Readonly<Record<string, string>>;
  readonly platform: KeyPlatform;
  readonly network: boolean;
  /** Absent for a job that is not root, so that such jobs have the keys that they had before there were others. */
  readonly root?: true;
  /** Artifact name to path below /out. */
  readonly outputs: Readonly<Record<string, string>>;
};

/** `source` is the whole tree that the job sees of its repository; `from` the folder of it that is taken. */
export type KeyLayer =
  | { readonly tree: Tree; readonly from: string; readonly at: string }
  | { readonly source: Tree; readonly from: string; readonly at: string }
  | { readonly remove: string };

/** Everything that the result of a composition depends on: it is made by the server, whatever the machine. */
export type ComposeKeyDocument = {
  readonly version: 1;
  readonly kind: 'compose';
  /** In order: later wins. */
  readonly layers: readonly KeyLayer[];
  readonly output: string;
};

/**
 * Everything that the verdict of a board job depends on. The time limit is no part of it, nor is which of several boards
 * of one name it is.
 */
export type BoardKeyDocument = {
  readonly version: 1;
  readonly kind: 'board';
  /** Name of the board, or path of its file in `source`. */
  readonly board: string;
  /** The repository's board file; null: the board is the runner's. */
  readonly source: Tree | null;
  readonly system: Tree;
  /** What the channel has released, unless it is the same; null: nothing to go back to. */
  readonly over: Tree | null;
  readonly faults: readonly string[];
  /** Version of Treeline: it makes the image, and says how the board is tried. */
  readonly treeline: string;
};

export type KeyDocument = RunKeyDocument | ComposeKeyDocument | BoardKeyDocument;
