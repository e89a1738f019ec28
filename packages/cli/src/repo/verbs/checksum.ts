import { checksumFile } from '@treeline/ostree/commit/checksum-file.ts';
import { type RepoVerb, required, say } from '../verb.ts';

export const checksumVerb: RepoVerb = {
  usage: 'PATH',
  options: { 'ignore-xattrs': { type: 'boolean', help: "Don't include xattrs in checksum" } },
  async run(parsed) {
    const path = required(parsed, 0, 'A filename must be given');
    say(await checksumFile(path, { xattrs: !parsed.flag('ignore-xattrs') }));
  },
};
