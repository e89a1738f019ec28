import { OstreeError } from '../errors.ts';
import { decodeDirTree } from '../formats/dirtree.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { timeSlices } from '../prune/time-slices.ts';
import type { Repo } from '../repo/repo.ts';
import type { Damage } from '../work/verify-object.ts';
import type { DamagedObject } from './fsck.ts';
import { readDirTreeBytes } from './walk.ts';

/** What is damaged at a folder or below, as `<checksum>.<type>`, with a path from there. */
type Below = ReadonlyMap<string, string>;

const NOTHING: Below = new Map();

/** Says of each damaged object which commits need it, and where: worth a second walk, since it hardly ever happens. */
export async function traceDamage(
  repos: readonly Repo[],
  found: readonly Damage[],
  whole: ReadonlyMap<Checksum, Tree>,
  signal: AbortSignal | undefined,
): Promise<DamagedObject[]> {
  const byName = new Map<string, DamagedObject>();
  for (const damage of found) {
    const commits = damage.type === 'commit' ? [damage.checksum] : [];
    byName.set(`${damage.checksum}.${damage.type}`, { ...damage, commits });
  }
  const known = new Map<Checksum, Below>();
  const pause = timeSlices(signal);
  // Folders are looked into once, however many commits have them; children first.
  const look = async (contents: Checksum): Promise<Below> => {
    const before = known.get(contents);
    if (before) return before;
    await pause();
    const below = new Map<string, string>();
    const note = (name: string, path: string) => {
      if (byName.has(name) && !below.has(name)) below.set(name, path);
    };
    note(`${contents}.dirtree`, '');
    const { files, dirs } = readEntries(repos, contents);
    for (const [name, checksum] of files) note(`${checksum}.file`, `/${name}`);
    for (const [name, tree] of dirs) {
      note(`${tree.meta}.dirmeta`, `/${name}`);
      for (const [object, path] of await look(tree.contents)) note(object, `/${name}${path}`);
    }
    const result = below.size > 0 ? below : NOTHING;
    known.set(contents, result);
    return result;
  };
  for (const [commit, tree] of whole) {
    const add = (name: string, path: string) => {
      const object = byName.get(name);
      if (!object || object.commits.includes(commit)) return;
      object.commits.push(commit);
      object.path ??= path || '/';
    };
    add(`${tree.meta}.dirmeta`, '/');
    for (const [name, path] of await look(tree.contents)) add(name, path);
  }
  return [...byName.values()];
}

function readEntries(repos: readonly Repo[], contents: Checksum) {
  const data = readDirTreeBytes(repos, contents);
  try {
    if (data) return decodeDirTree(data, `${contents}.dirtree`);
  } catch (error) {
    if (!(error instanceof OstreeError)) throw error;
  }
  return { files: new Map<string, Checksum>(), dirs: new Map<string, Tree>() };
}
