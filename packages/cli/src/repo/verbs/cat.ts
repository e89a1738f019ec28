import { once } from 'node:events';
import { OstreeError } from '@treeline/ostree/errors.ts';
import type { Tree } from '@treeline/ostree/formats/object-name.ts';
import { readCommit, readFileObject, type StoredFile } from '@treeline/ostree/repo/objects.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { lookUp, type TreeReader, treeReader } from '@treeline/ostree/repo/tree-reader.ts';
import { UsageError } from '../options.ts';
import { commitOf, openNamedRepo, type RepoVerb, required } from '../verb.ts';

export const cat: RepoVerb = {
  usage: 'COMMIT PATH…',
  options: {},
  async run(parsed) {
    const rev = required(parsed, 0, 'A COMMIT and at least one PATH argument are required');
    const paths = parsed.positionals.slice(1);
    if (paths.length === 0) throw new UsageError('A COMMIT and at least one PATH argument are required');
    const repo = await openNamedRepo(parsed);
    const { tree } = await readCommit(repo, await commitOf(repo, rev));
    const reader = treeReader(repo);
    for (const path of paths) {
      const file = await openPath(repo, reader, tree, path);
      for await (const chunk of file.content()) {
        if (!process.stdout.write(chunk as Buffer)) await once(process.stdout, 'drain');
      }
    }
  },
};

/** As many symlinks in a row as Linux follows. */
const MAX_LINKS = 40;

/** The file at a path, symlinks followed inside the tree: an absolute target starts at its root. */
async function openPath(repo: Repo, reader: TreeReader, tree: Tree, path: string): Promise<StoredFile> {
  const missing = () => new OstreeError('not-found', `No such file or directory: ${path}`);
  let rest = path.split('/');
  let at: string[] = [];
  for (let links = 0; rest.length > 0; ) {
    const part = rest.shift()!;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      at.pop();
      continue;
    }
    const found = lookUp(reader, tree, [...at, part].join('/'));
    if (!found) throw missing();
    if (found.kind === 'dir') {
      at.push(part);
      continue;
    }
    const file = await readFileObject(repo, found.checksum);
    const target = file.header.symlinkTarget;
    if (target === '') {
      if (rest.some((one) => one !== '' && one !== '.')) throw missing();
      return file;
    }
    if (++links > MAX_LINKS) throw new OstreeError('invalid', `Too many levels of symbolic links: ${path}`);
    if (target.startsWith('/')) at = [];
    rest = [...target.split('/'), ...rest];
  }
  throw new OstreeError('invalid', "Can't open directory");
}
