import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** An object file of an archive repository. */
export interface RepositoryObject {
  /** `<checksum>.<type>` as files are called: content is `filez`. */
  name: string;
  checksum: string;
  type: string;
  path: string;
}

/** Every object of an archive repository. */
export async function repositoryObjects(repo: string): Promise<RepositoryObject[]> {
  const objects = join(repo, 'objects');
  const found: RepositoryObject[] = [];
  for (const prefix of await readdir(objects)) {
    if (!/^[0-9a-f]{2}$/.test(prefix)) continue;
    for (const rest of await readdir(join(objects, prefix))) {
      const match = /^([0-9a-f]{62})\.([a-z]+)$/.exec(rest);
      if (match === null) continue;
      const checksum = `${prefix}${match[1]}`;
      found.push({ name: `${prefix}${rest}`, checksum, type: match[2] ?? '', path: join(objects, prefix, rest) });
    }
  }
  return found;
}

/** Where libostree, and the pull here, mark a commit whose tree is not all there. */
export function partialMark(repo: string, commit: string): string {
  return join(repo, 'state', `${commit}.commitpartial`);
}
