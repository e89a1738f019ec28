import { openRepo, readCommit } from '@treeline/ostree';
import { openSide, type SideFile, type SideFolder } from '@treeline/ostree/diff/side.ts';
import type { Entry } from '../../difference/entry.ts';

const FORMAT = 0o170000;
const [REGULAR, LINK] = [0o100000, 0o120000];

/** What a commit has at a path: itself and what is in it, or, with `below`, everything below. Nothing where it has none. */
export async function listCommitted(
  repository: string,
  commit: string,
  o: { path: string; below: boolean; signal?: AbortSignal | undefined },
): Promise<Map<string, Entry>> {
  const repo = await openRepo(repository);
  const { tree } = await readCommit(repo, commit);
  const entries = new Map<string, Entry>();
  const addFolder = async (folder: SideFolder, path: string, deep: boolean): Promise<void> => {
    o.signal?.throwIfAborted();
    entries.set(path === '' ? '/' : path, folderEntry(folder));
    const { files, dirs } = folder.list();
    for (const [name, file] of files) entries.set(`${path}/${name}`, await fileEntry(file));
    for (const [name, inner] of dirs) {
      if (deep) await addFolder(inner, `${path}/${name}`, deep);
      else entries.set(`${path}/${name}`, folderEntry(inner));
    }
  };
  const parts = o.path.split('/').filter((part) => part !== '');
  let folder = openSide({ repo, tree });
  for (const [index, part] of parts.entries()) {
    const { files, dirs } = folder.list();
    const file = index === parts.length - 1 ? files.get(part) : undefined;
    if (file) return entries.set(o.path, await fileEntry(file));
    const inner = dirs.get(part);
    if (!inner) return entries;
    folder = inner;
  }
  await addFolder(folder, parts.map((part) => `/${part}`).join(''), o.below);
  return entries;
}

function folderEntry(folder: SideFolder): Entry {
  const { mode, uid, gid } = folder.meta();
  return { type: 'folder', mode: mode & 0o7777, uid, gid, size: 0, target: null };
}

async function fileEntry(file: SideFile): Promise<Entry> {
  const { header, size } = await file.stat();
  const { mode, uid, gid, symlinkTarget } = header;
  const type = (mode & FORMAT) === LINK ? 'symlink' : (mode & FORMAT) === REGULAR ? 'file' : 'other';
  const about = { type, mode: mode & 0o7777, uid, gid } as const;
  return { ...about, size: type === 'file' ? size : 0, target: type === 'symlink' ? symlinkTarget : null };
}
