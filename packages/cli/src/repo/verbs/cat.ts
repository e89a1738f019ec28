import { once } from 'node:events';
import { lookUp, OstreeError, readCommit, readFileObject, treeReader } from '@treeline/ostree';
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
      const found = lookUp(reader, tree, path);
      if (!found) throw new OstreeError('not-found', `No such file or directory: ${path}`);
      if (found.kind === 'dir') throw new OstreeError('invalid', `Can't open directory: ${path}`);
      const file = await readFileObject(repo, found.checksum);
      for await (const chunk of file.content()) {
        if (!process.stdout.write(chunk as Buffer)) await once(process.stdout, 'drain');
      }
    }
  },
};
