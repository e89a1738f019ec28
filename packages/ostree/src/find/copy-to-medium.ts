import { mkdirSync, readdirSync, realpathSync, statSync, symlinkSync } from 'node:fs';
import { isAbsolute, join, normalize } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { pull } from '../pull/pull.ts';
import { type CollectionRef, readCollectionRef } from '../repo/collection-refs.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { updateSummary } from '../summary/update.ts';

/** What is copied to a medium, and where to. */
export interface CopyToMediumOptions {
  /** Folder of the repository on the medium; default `.ostree/repo`. */
  destination?: string;
  /** This commit instead of what the ref names; for a single ref. */
  commit?: Checksum;
  fsync?: boolean;
  signal?: AbortSignal;
}

/** Where repositories are looked for anyway. */
const KNOWN_PLACES = ['ostree/repo', '.ostree/repo'];
const MAX_LINKS = 100;

/**
 * Copies refs of collections to a USB stick or the like, from which `find-remotes` and devices can take them: into an
 * archive repository with a summary, which is linked from `.ostree/repos.d` where it is not in a usual place. What is
 * there already stays.
 *
 * @param mount an existing folder
 * @throws OstreeError `not-found` for a ref that is not here, `invalid` for a destination that is not on the medium, or
 *   is the repository itself
 */
export async function copyToMedium(
  repo: Repo,
  mount: string,
  refs: readonly CollectionRef[],
  options: CopyToMediumOptions = {},
): Promise<void> {
  const { signal, commit } = options;
  const destination = normalize(options.destination ?? '.ostree/repo');
  if (isAbsolute(destination) || destination.startsWith('..')) {
    throw new OstreeError('invalid', '--destination-repo must be a descendent of MOUNT-PATH');
  }
  const device = statSync(mount).dev;
  const wanted = [];
  for (const ref of refs) wanted.push({ ...ref, commit: commit ?? (await find(repo, ref)) });
  const path = join(mount, destination);
  mkdirSync(path, { recursive: true });
  const created = await createRepo(path);
  if (statSync(path).dev !== device) {
    throw new OstreeError('invalid', '--destination-repo must be a descendent of MOUNT-PATH');
  }
  if (realpathSync(path) === realpathSync(repo.path)) {
    throw new OstreeError('invalid', '--destination-repo must not be the source repository');
  }
  const target: Repo = options.fsync === false ? { ...created, fsync: false } : created;
  await pull(target, { url: repo.path, collectionRefs: wanted, mirror: true, ...(signal && { signal }) });
  await updateSummary(target, { metadataCommit: false, ...(signal && { signal }) });
  if (!KNOWN_PLACES.includes(destination)) link(mount, destination);
}

async function find(repo: Repo, ref: CollectionRef): Promise<Checksum> {
  const commit = await readCollectionRef(repo, ref);
  if (commit) return commit;
  throw new OstreeError('not-found', `Collection–ref (${ref.collection}, ${ref.ref}) not found`);
}

/** Makes `.ostree/repos.d/NN-generated`, unless something there leads to the repository already. */
function link(mount: string, destination: string): void {
  const folder = join(mount, '.ostree/repos.d');
  mkdirSync(folder, { recursive: true });
  const { ino } = statSync(join(mount, destination));
  const isIt = (name: string) => statSync(join(folder, name), { throwIfNoEntry: false })?.ino === ino;
  if (readdirSync(folder).some(isIt)) return;
  for (let index = 0; index < MAX_LINKS; index++) {
    try {
      symlinkSync(join('../..', destination), join(folder, `${String(index).padStart(2, '0')}-generated`));
      return;
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error;
    }
  }
  throw new OstreeError('exists', `${folder}: Could not find an unused symlink name for the repository`);
}
