import type { AppliedPart, PartToApply } from '../delta/apply-part.ts';
import type { BuiltPart, PartToBuild } from '../delta/build-part.ts';
import type { EncodedObject, EncodeOptions, ObjectToEncode } from '../delta/encode-object.ts';
import type { PartStatistics, PartToCount } from '../delta/part-statistics.ts';
import type { Sketch, SketchOptions } from '../delta/sketch.ts';
import type { FileHeader } from '../formats/file.ts';
import type { Checksum } from '../formats/object-name.ts';
import type { ObjectFormat } from '../repo/repo.ts';
import type { ArchivedObject, ObjectToArchive } from './archive-object.ts';
import { type CheckoutTarget, checkOutFiles, type FilesToCheckOut } from './checkout-file.ts';
import { type CopyOptions, copyObject } from './copy-object.ts';
import { importFilez, importFilezFile } from './import-object.ts';
import type { SpooledObject } from './receive-object.ts';
import {
  deflatePiece,
  type FileToStore,
  type ObjectTarget,
  type Piece,
  type StoredObject,
  stageCopy,
  storeBuffer,
  storeFile,
} from './store-file.ts';
import { unlinkObjects } from './unlink-objects.ts';
import { type Damage, type ObjectToVerify, verifyObject } from './verify-object.ts';

/** What a worker can do. Each task is a batch: a message a file would cost more than the work. */
export type Task =
  | { kind: 'store-files'; target: ObjectTarget; files: FileToStore[] }
  | { kind: 'store-buffers'; target: ObjectTarget; buffers: { header: FileHeader; content: Uint8Array }[] }
  | { kind: 'import-filez'; target: ObjectTarget; objects: { checksum: Checksum; data: Uint8Array }[] }
  | { kind: 'import-filez-file'; target: ObjectTarget; checksum: Checksum; path: string }
  | { kind: 'deflate-piece'; piece: Piece }
  | { kind: 'stage-copy'; target: ObjectTarget; checksum: Checksum; path: string; header: FileHeader }
  | { kind: 'copy-objects'; target: ObjectTarget; options: CopyOptions; objects: ObjectToVerify[] }
  | { kind: 'check-out-files'; target: CheckoutTarget; files: FilesToCheckOut }
  | { kind: 'apply-delta-part'; target: ObjectTarget; part: PartToApply }
  | ({ kind: 'count-delta-part' } & PartToCount)
  | { kind: 'encode-delta-objects'; objects: ObjectToEncode[]; options: EncodeOptions }
  | { kind: 'build-delta-part'; part: PartToBuild }
  | { kind: 'sketch-objects'; objects: Checksum[]; options: SketchOptions }
  | { kind: 'verify-objects'; format: ObjectFormat; objects: ObjectToVerify[] }
  | { kind: 'receive-objects'; folder: string; batch: string; memory: ArrayBuffer }
  | { kind: 'receive-spooled'; folder: string; object: SpooledObject }
  | { kind: 'release-objects'; repo: { path: string; fsync: boolean }; folder: string; files: string[] }
  | { kind: 'archive-objects'; format: ObjectFormat; level: number; objects: ObjectToArchive[] }
  | { kind: 'unlink-objects'; paths: string[] };

export interface TaskResults {
  'store-files': (StoredObject & { header: FileHeader })[];
  'store-buffers': StoredObject[];
  'import-filez': StoredObject[];
  'import-filez-file': StoredObject;
  'deflate-piece': Uint8Array;
  'stage-copy': null;
  'copy-objects': StoredObject[];
  'check-out-files': number;
  'apply-delta-part': AppliedPart;
  'count-delta-part': PartStatistics;
  'encode-delta-objects': EncodedObject[];
  'build-delta-part': BuiltPart;
  'sketch-objects': Sketch[];
  'verify-objects': Damage[];
  'receive-objects': ArrayBuffer;
  'receive-spooled': number;
  'release-objects': null;
  'archive-objects': ArchivedObject[];
  'unlink-objects': boolean[];
}

/**
 * Carries out a task; the same code runs in workers and, for a handful of files, in the calling thread. What only static
 * deltas need is loaded when one is there: a short-lived process spends its time on loading code.
 */
export async function runTask(task: Task): Promise<TaskResults[Task['kind']]> {
  switch (task.kind) {
    case 'store-files':
      return task.files.map((file) => storeFile(task.target, file));
    case 'store-buffers':
      return task.buffers.map(({ header, content }) => storeBuffer(task.target, header, content));
    case 'import-filez':
      return task.objects.map(({ checksum, data }) => importFilez(task.target, checksum, data));
    case 'import-filez-file':
      return importFilezFile(task.target, task.checksum, task.path);
    case 'deflate-piece':
      return deflatePiece(task.piece);
    case 'stage-copy':
      stageCopy(task.target, task.checksum, task.path, task.header);
      return null;
    case 'copy-objects': {
      const stored: StoredObject[] = [];
      for (const object of task.objects) stored.push(await copyObject(task.target, object, task.options));
      return stored;
    }
    case 'check-out-files':
      return checkOutFiles(task.target, task.files);
    case 'apply-delta-part':
      return (await import('../delta/apply-part.ts')).applyPart(task.target, task.part);
    case 'count-delta-part':
      return (await import('../delta/part-statistics.ts')).countPart(task);
    case 'encode-delta-objects':
      return (await import('../delta/encode-object.ts')).encodeObjects(task.objects, task.options);
    case 'build-delta-part':
      return (await import('../delta/build-part.ts')).buildPart(task.part);
    case 'sketch-objects':
      return (await import('../delta/sketch.ts')).sketchObjects(task.objects, task.options);
    case 'receive-objects':
      return (await import('./receive-object.ts')).receiveObjects(task, task.memory);
    case 'receive-spooled':
      return (await import('./receive-object.ts')).receiveSpooled(task.folder, task.object);
    case 'release-objects':
      (await import('../repo/staging.ts')).releaseObjects(task.repo, task.folder, task.files);
      return null;
    case 'archive-objects': {
      const { archiveObject } = await import('./archive-object.ts');
      return task.objects.map((object) => archiveObject(task.format, object, task.level));
    }
    case 'unlink-objects':
      return unlinkObjects(task.paths);
    case 'verify-objects': {
      const damage: Damage[] = [];
      for (const object of task.objects) {
        const found = await verifyObject(task.format, object);
        if (found) damage.push(found);
      }
      return damage;
    }
  }
}
