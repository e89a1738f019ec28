import { OstreeError } from '@treeline/ostree/errors.ts';
import type { DirMeta } from '@treeline/ostree/formats/dirmeta.ts';
import type { FileHeader } from '@treeline/ostree/formats/file.ts';
import type { Checksum, Tree } from '@treeline/ostree/formats/object-name.ts';
import { printValue } from '@treeline/ostree/gvariant/print.ts';
import { readCommit, readFileObject } from '@treeline/ostree/repo/objects.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { lookUp, type TreeReader, treeReader } from '@treeline/ostree/repo/tree-reader.ts';
import { commitOf, openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

interface Form {
  recursive: boolean;
  dirOnly: boolean;
  checksums: boolean;
  xattrs: boolean;
  nul: boolean;
}

export const ls: RepoVerb = {
  usage: 'COMMIT [PATH…]',
  options: {
    dironly: { type: 'boolean', short: 'd', help: 'Do not recurse into directory arguments' },
    recursive: { type: 'boolean', short: 'R', help: 'Print directories recursively' },
    checksum: { type: 'boolean', short: 'C', help: 'Print checksum' },
    xattrs: { type: 'boolean', short: 'X', help: 'Print extended attributes' },
    'nul-filenames-only': { type: 'boolean', help: 'Print only filenames, NUL separated' },
  },
  async run(parsed) {
    const rev = required(parsed, 0, 'An COMMIT argument is required');
    const repo = await openNamedRepo(parsed);
    const { tree } = await readCommit(repo, await commitOf(repo, rev));
    const form: Form = {
      recursive: parsed.flag('recursive'),
      dirOnly: parsed.flag('dironly'),
      checksums: parsed.flag('checksum'),
      xattrs: parsed.flag('xattrs'),
      nul: parsed.flag('nul-filenames-only'),
    };
    const listing = new Listing(repo, treeReader(repo), form);
    const paths = parsed.positionals.slice(1);
    for (const path of paths.length > 0 ? paths : ['/']) await listing.path(tree, path);
  },
};

class Listing {
  readonly #repo: Repo;
  readonly #reader: TreeReader;
  readonly #form: Form;

  constructor(repo: Repo, reader: TreeReader, form: Form) {
    this.#repo = repo;
    this.#reader = reader;
    this.#form = form;
  }

  async path(root: Tree, path: string): Promise<void> {
    const found = lookUp(this.#reader, root, path);
    const clean = `/${path.split('/').filter(Boolean).join('/')}`;
    if (!found) throw new OstreeError('not-found', `Inspecting path '${path}': ${this.#missing(root, clean)}`);
    if (found.kind === 'file') await this.#file(found.checksum, clean);
    else {
      this.#dir(found.tree, clean);
      if (this.#form.recursive || !this.#form.dirOnly) await this.#entries(found.tree, clean === '/' ? '' : clean);
    }
  }

  /** A file on the way is another matter than nothing at all. */
  #missing(root: Tree, path: string): string {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      if (lookUp(this.#reader, root, path.slice(0, end))?.kind === 'file') return 'Not a directory';
    }
    return `No such file or directory: ${path}`;
  }

  async #entries(tree: Tree, path: string): Promise<void> {
    const { files, dirs } = this.#reader.dirTree(tree.contents);
    for (const [name, checksum] of files) await this.#file(checksum, `${path}/${name}`);
    for (const [name, dir] of dirs) {
      this.#dir(dir, `${path}/${name}`);
      if (this.#form.recursive) await this.#entries(dir, `${path}/${name}`);
    }
  }

  async #file(checksum: Checksum, path: string): Promise<void> {
    if (this.#form.nul) {
      this.#print(path);
      return;
    }
    const { header, size } = await readFileObject(this.#repo, checksum);
    const target = header.symlinkTarget;
    this.#print(this.#line(target ? 'l' : '-', header, size, [checksum], target ? `${path} -> ${target}` : path));
  }

  #dir(tree: Tree, path: string): void {
    const meta = this.#reader.dirMeta(tree.meta);
    this.#print(this.#form.nul ? path : this.#line('d', meta, 0, [tree.contents, tree.meta], path));
  }

  #print(line: string): void {
    if (this.#form.nul) process.stdout.write(`${line}\0`);
    else say(line);
  }

  /** `-00644 0 0      2 <checksums> { xattrs } /path`, as ostree has it. */
  #line(letter: string, of: FileHeader | DirMeta, size: number, checksums: Checksum[], path: string): string {
    const mode = (of.mode & 0o7777).toString(8).padStart(5, '0');
    const { checksums: showChecksums, xattrs: showXattrs } = this.#form;
    const pairs = of.xattrs.map(([name, value]) => [Buffer.concat([name, Buffer.alloc(1)]), value]);
    return [
      `${letter}${mode} ${of.uid} ${of.gid} ${String(size).padStart(6)} `,
      ...(showChecksums ? checksums.map((checksum) => `${checksum} `) : []),
      ...(showXattrs ? [`{ ${printValue('a(ayay)', pairs)} } `] : []),
      path,
    ].join('');
  }
}
