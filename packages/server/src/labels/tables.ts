/** A label of a tree: every commit of that tree has it. */
export interface LabelTable {
  contents: string;
  meta: string;
  label: string;
  /** Project (`vendor`) or output (`vendor/drivers`) that a treeline.yaml says it of; empty = by hand. */
  name: string;
  /** The commit that it was put on. */
  commit: string;
  /** Who put it there by hand. */
  actor: string | null;
  reason: string;
  created_at: number;
}

/** A label of all that a project's sources make (`vendor`), or of all artifacts of one name (`vendor/drivers`), old and new. */
export interface NameLabelTable {
  name: string;
  label: string;
  /** 0 = a treeline.yaml said so, and it stays when a later one does not. */
  by_hand: number;
  actor: string | null;
  reason: string;
  created_at: number;
}

/**
 * What a result was made from in some run. A result is found by its key, and keys name trees: when a run reuses it,
 * its inputs are the same trees, but may be other commits than those that the result's own provenance names.
 */
export interface ResultInputTable {
  key: string;
  /** As in provenance: the input's name, `image`, the artifact's id for layers; `source` for the job's sources. */
  name: string;
  commit: string;
}

export interface LabelTables {
  labels: LabelTable;
  name_labels: NameLabelTable;
  result_inputs: ResultInputTable;
}
