import { rmSync } from 'node:fs';
import { OstreeError } from '../errors.ts';
import { decodeCommit } from '../formats/commit.ts';
import { decodeDirMeta } from '../formats/dirmeta.ts';
import { decodeDirTree } from '../formats/dirtree.ts';
import { type Checksum, loosePath, type ObjectType } from '../formats/object-name.ts';
import type { HttpOptions } from '../pull/http.ts';
import type { HttpPlaces } from '../pull/open-source.ts';
import { receiveFile } from '../pull/receive-file.ts';
import { openRemote, type Remote } from '../pull/remote.ts';
import { assertHash, MAX_METADATA_BYTES, objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { type Transaction, withTransaction } from '../repo/transaction.ts';
import { verifyObject } from '../work/verify-object.ts';
import { type DamagedObject, type FsckOptions, type FsckReport, fsck } from './fsck.ts';
import { removePartialMark } from './partial-marks.ts';

/** Where sound objects may be had: an http(s) URL or a path, with what HTTP needs. */
export type RepairSource = { url: string } & HttpOptions & HttpPlaces;

/** What became of damaged objects. */
export interface RepairReport {
  /** Objects that were damaged or lost and are sound now, as `<checksum>.<type>`. */
  repaired: string[];
  /** How the repository was found afterwards. */
  after: FsckReport;
}

/**
 * Checks a repository and gets each object that is damaged or missing from the first of the sources that has it, in
 * whatever commit. What comes is held against its checksum, so a source need not be trusted. Commits that an fsck
 * marked as having lost something are whole again when all that they need is there.
 *
 * @throws OstreeError `network`, `not-found` for a source that cannot be opened
 */
export async function repair(
  repo: Repo,
  sources: readonly RepairSource[],
  options: Pick<FsckOptions, 'signal' | 'onProgress'> = {},
): Promise<RepairReport> {
  const remotes: Remote[] = [];
  try {
    for (const { url, ...rest } of sources) remotes.push(await openRemote(url, { ...rest, ...options }));
    const repaired: string[] = [];
    for (;;) {
      const report = await fsck(repo, { ...options, includeLost: true });
      const fetched = await withTransaction(repo, (tx) => fetchAll(tx, remotes, wanted(report)), signalOf(options));
      repaired.push(...fetched);
      // What a folder that was lost refers to is only known now.
      if (fetched.length > 0) continue;
      const suffering = new Set(report.affectedCommits);
      for (const commit of report.lostCommits) if (!suffering.has(commit)) removePartialMark(repo, commit);
      return { repaired, after: report };
    }
  } finally {
    for (const remote of remotes) remote.close();
  }
}

type Lost = Pick<DamagedObject, 'type' | 'checksum'>;

function wanted({ damaged, danglingRefs }: FsckReport): Lost[] {
  return [...damaged, ...[...danglingRefs.values()].map((checksum): Lost => ({ type: 'commit', checksum }))];
}

function signalOf({ signal }: { signal?: AbortSignal }): { signal?: AbortSignal } {
  return signal ? { signal } : {};
}

async function fetchAll(tx: Transaction, remotes: readonly Remote[], objects: readonly Lost[]): Promise<string[]> {
  const fetched: string[] = [];
  for (const object of objects) {
    for (const remote of remotes) {
      tx.signal?.throwIfAborted();
      if (!(await fetchObject(tx, remote, object))) continue;
      fetched.push(`${object.checksum}.${object.type}`);
      break;
    }
  }
  return fetched;
}

/** Stages an object of a remote. False when it has none, or not a sound one. */
async function fetchObject(tx: Transaction, remote: Remote, { type, checksum }: Lost): Promise<boolean> {
  try {
    if (remote.repo) return await copyObject(tx, remote.repo, type, checksum);
    if (type === 'file') return await receiveContent(tx, remote, checksum);
    const data = await remote.file(`objects/${loosePath(checksum, type)}`, MAX_METADATA_BYTES);
    if (!data) return false;
    assertHash(data, checksum, type);
    makeRoom(tx.repo, type, checksum);
    const object = `${checksum}.${type}`;
    if (type === 'commit') tx.writeCommitObject(decodeCommit(data, object));
    else if (type === 'dirtree') tx.writeDirTree(decodeDirTree(data, object));
    else tx.writeDirMeta(decodeDirMeta(data, object));
    return true;
  } catch (error) {
    if (error instanceof OstreeError && (error.code === 'corrupt' || error.code === 'not-found')) return false;
    throw error;
  }
}

async function receiveContent(tx: Transaction, remote: Remote, checksum: Checksum): Promise<boolean> {
  const received = await receiveFile(tx, remote.source!, checksum, {
    resume: false,
    count: () => {},
    store: async (work) => {
      makeRoom(tx.repo, 'file', checksum);
      return work();
    },
  });
  if (!received) return false;
  if ('data' in received) {
    makeRoom(tx.repo, 'file', checksum);
    await tx.importFilez([{ checksum, data: received.data }]);
  }
  return true;
}

async function copyObject(tx: Transaction, from: Repo, type: ObjectType, checksum: Checksum): Promise<boolean> {
  const path = objectPath(from, type, checksum);
  if (await verifyObject(from, { type, checksum, path })) return false;
  makeRoom(tx.repo, type, checksum);
  await tx.copyObjects([{ type, checksum, path }], { from, link: false, verify: true });
  return true;
}

/** What is there would be taken for the object itself. It is damaged, so that nothing is lost. */
function makeRoom(repo: Repo, type: ObjectType, checksum: Checksum): void {
  rmSync(objectPath(repo, type, checksum), { force: true });
}
