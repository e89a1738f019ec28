import { gpgImport, gpgImportOptions, listGpgKeys } from '../remote-gpg.ts';
import { openNamedRepo, type RepoVerb } from '../verb.ts';

export const remoteGpgImport: RepoVerb = {
  usage: 'NAME [KEY-ID…]',
  options: gpgImportOptions,
  async run(parsed, signal) {
    await gpgImport(await openNamedRepo(parsed), parsed, 0, signal);
    return 0;
  },
};

export const remoteGpgListKeys: RepoVerb = {
  usage: '[NAME]',
  options: {},
  async run(parsed) {
    await listGpgKeys(await openNamedRepo(parsed), parsed, 0);
    return 0;
  },
};
