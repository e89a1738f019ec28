import type { DirMeta } from '../formats/dirmeta.ts';
import type { ChangeKind } from './compare.ts';
import type { Change, Node } from './diff.ts';

/** What a path was or is, as JSON can tell it. */
export type NodeDescription = {
  mode: number;
  uid: number;
  gid: number;
  /** Values in base64. */
  xattrs?: { name: string; value: string }[];
} & (
  | { type: 'dir' }
  | { type: 'file'; checksum: string; size: number }
  | { type: 'symlink'; checksum: string; target: string }
);

/** A change as JSON can tell it. */
export interface ChangeDescription {
  kind: ChangeKind;
  path: string;
  differs: Change['differs'][number][];
  /** Bytes that who has the one fetches for the other. */
  download: number;
  before?: NodeDescription;
  after?: NodeDescription;
}

/** Describes a change for JSON. */
export function describeChange({ kind, path, differs, download = 0, before, after }: Change): ChangeDescription {
  return {
    ...{ kind, path, differs: [...differs], download },
    ...(before ? { before: describeNode(before) } : {}),
    ...(after ? { after: describeNode(after) } : {}),
  };
}

function describeNode(node: Node): NodeDescription {
  if (node.type === 'dir') return { type: 'dir', ...describeAttributes(node.meta) };
  const { type, checksum, size, header } = node;
  const attributes = describeAttributes(header);
  if (type === 'symlink') return { type, checksum, ...attributes, target: header.symlinkTarget };
  return { type, checksum, ...attributes, size };
}

function describeAttributes({ mode, uid, gid, xattrs }: DirMeta) {
  const list = xattrs.map(([name, value]) => ({
    name: Buffer.from(name).toString('utf8'),
    value: Buffer.from(value).toString('base64'),
  }));
  return { mode, uid, gid, ...(list.length > 0 ? { xattrs: list } : {}) };
}
