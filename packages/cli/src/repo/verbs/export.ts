import { createWriteStream } from 'node:fs';
import { exportTar } from '@treeline/ostree/export/write-tar.ts';
import { readCommit } from '@treeline/ostree/repo/objects.ts';
import { commitOf, openNamedRepo, type RepoVerb, required } from '../verb.ts';

export const exportVerb: RepoVerb = {
  usage: 'COMMIT',
  options: {
    'no-xattrs': { type: 'boolean', help: 'Skip output of extended attributes' },
    subpath: { type: 'string', argument: 'PATH', help: 'Checkout sub-directory PATH' },
    prefix: { type: 'string', argument: 'PATH', help: 'Add PATH as prefix to archive pathnames' },
    output: { type: 'string', short: 'o', argument: 'PATH', help: 'Output to PATH ' },
  },
  async run(parsed, signal) {
    const rev = required(parsed, 0, 'A COMMIT argument is required');
    const repo = await openNamedRepo(parsed);
    const commit = await readCommit(repo, await commitOf(repo, rev));
    const [subpath, prefix, output] = [parsed.text('subpath'), parsed.text('prefix'), parsed.text('output')];
    await exportTar(repo, commit.tree, output === undefined ? process.stdout : createWriteStream(output), {
      mtime: commit.timestamp,
      xattrs: !parsed.flag('no-xattrs'),
      ...(subpath === undefined ? {} : { subpath }),
      ...(prefix === undefined ? {} : { prefix }),
      signal,
    });
  },
};
