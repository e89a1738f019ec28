import type { Readable } from 'node:stream';
import { OstreeError } from '../errors.ts';
import type { DirTree } from '../formats/dirtree.ts';
import type { FileHeader } from '../formats/file.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { readFileObject } from '../repo/objects.ts';
import type { Transaction } from '../repo/transaction.ts';
import { type TreeReader, treeReader } from '../repo/tree-reader.ts';
import { type Modifier, type ModifierOptions, modifierOf } from './modifier.ts';

/** Files that are rewritten at once. */
const AHEAD = 16;
/** Up to here a file's content is held in memory. */
const WHOLE_BYTES = 1024 * 1024;

/**
 * A stored tree with other owners, permissions or attributes, or without some paths: what `ostree commit --tree=ref=REF`
 * does with flags. Content is read again only of files whose attributes differ; with nothing to modify the tree is
 * taken as it is, without reading anything.
 *
 * @throws OstreeError `not-found` for objects that are missing, `invalid` when nothing is left
 */
export async function modifyTree(tx: Transaction, tree: Tree, options: ModifierOptions): Promise<Tree> {
  const modifier = modifierOf(options, tx.repo.mode, 'tree');
  if (modifier.neutral) return tree;
  const work = new Modification(tx, modifier);
  const finish = await work.folder(tree, '/', true);
  await work.finish();
  if (!finish) throw new OstreeError('invalid', "Can't commit an empty tree");
  return finish();
}

class Modification {
  readonly #tx: Transaction;
  readonly #reader: TreeReader;
  readonly #modifier: Modifier;
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  constructor(tx: Transaction, modifier: Modifier) {
    this.#tx = tx;
    this.#reader = treeReader(tx);
    this.#modifier = modifier;
  }

  /** Walks a folder; the function returned writes it once all files are stored. Null for one that is left out. */
  async folder(tree: Tree, path: string, isRoot: boolean): Promise<(() => Tree) | null> {
    const meta = this.#reader.dirMeta(tree.meta);
    const wanted = isRoot ? this.#modifier.apply(path, meta) : this.#modifier.enter(path, meta);
    if (!wanted) return null;
    const { files, dirs } = this.#reader.dirTree(tree.contents);
    const result: DirTree = { files: new Map(), dirs: new Map() };
    for (const [name, checksum] of files) await this.#file(checksum, below(path, name), name, result);
    const children: [string, () => Tree][] = [];
    for (const [name, dir] of dirs) {
      const child = await this.folder(dir, below(path, name), false);
      if (child) children.push([name, child]);
    }
    return () => {
      for (const [name, child] of children) result.dirs.set(name, child());
      const xattrs = this.#modifier.xattrs ? meta.xattrs : [];
      return { contents: this.#tx.writeDirTree(result), meta: this.#tx.writeDirMeta({ ...wanted, xattrs }) };
    };
  }

  async #file(checksum: Checksum, path: string, name: string, into: DirTree): Promise<void> {
    const work = this.#modified(checksum, path).then(
      (modified) => {
        if (modified) into.files.set(name, modified);
      },
      (error: unknown) => {
        this.#failure ??= { error };
      },
    );
    this.#running.add(work);
    void work.then(() => this.#running.delete(work));
    while (this.#running.size >= AHEAD) await Promise.race(this.#running);
    if (this.#failure) throw this.#failure.error;
    this.#tx.signal?.throwIfAborted();
  }

  async #modified(checksum: Checksum, path: string): Promise<Checksum | null> {
    const file = await readFileObject(this.#tx.repo, checksum);
    const { header, size } = file;
    const wanted = this.#modifier.apply(path, header);
    if (!wanted) return null;
    const { uid, gid, mode } = wanted;
    const xattrs = this.#modifier.xattrs ? header.xattrs : [];
    const same = uid === header.uid && gid === header.gid && mode === header.mode;
    if (same && xattrs.length === header.xattrs.length) return checksum;
    const changed: FileHeader = { uid, gid, mode, symlinkTarget: header.symlinkTarget, xattrs };
    const bytes = size <= WHOLE_BYTES ? await whole(file.content(), size) : file.content();
    return (await this.#tx.writeFile(changed, bytes)).checksum;
  }

  async finish(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure.error;
  }
}

function below(path: string, name: string): string {
  return path === '/' ? `/${name}` : `${path}/${name}`;
}

/** Content that says how small it is, and must not turn out to be larger. */
async function whole(stream: Readable, size: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > size) break;
    chunks.push(chunk);
  }
  if (length !== size) throw new OstreeError('corrupt', `content of ${length} bytes or more, not ${size}`);
  return Buffer.concat(chunks);
}
