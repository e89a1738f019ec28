import type { Change, DirMeta, Node } from '@treeline/ostree';
import type { Diff } from '@treeline/server';

type View = Diff['changes'][number];

/** Changes that were found here, as the server tells of those that it finds. */
export function changeViews(changes: readonly Change[]): View[] {
  return changes.map(({ kind, path, differs, download = 0, before, after }) => ({
    kind,
    path,
    differs: [...differs],
    download,
    ...(before ? { before: nodeView(before) } : {}),
    ...(after ? { after: nodeView(after) } : {}),
  }));
}

function nodeView(node: Node): NonNullable<View['after']> {
  if (node.type === 'dir') return { type: 'dir', ...attributesView(node.meta) };
  const { type, checksum, size, header } = node;
  const common = { type, checksum, ...attributesView(header) };
  return type === 'symlink' ? { ...common, target: header.symlinkTarget } : { ...common, size };
}

function attributesView({ mode, uid, gid, xattrs }: DirMeta) {
  const list = xattrs.map(([name, value]) => ({
    name: Buffer.from(name).toString('utf8'),
    value: Buffer.from(value).toString('base64'),
  }));
  return { mode, uid, gid, ...(list.length > 0 ? { xattrs: list } : {}) };
}
