export { writeFolder, type WriteFolderOptions } from './commit/folder.ts';
export { type NewCommit, writeCommit } from './commit/write-commit.ts';
export { OstreeError, type OstreeErrorCode } from './errors.ts';
export { type Commit, type Metadata, metadataValue } from './formats/commit.ts';
export type { DirMeta } from './formats/dirmeta.ts';
export type { DirTree } from './formats/dirtree.ts';
export type { FileHeader } from './formats/file.ts';
export { type Checksum, isChecksum, type ObjectType, type Tree } from './formats/object-name.ts';
export { syncFolder, writeFileDurably } from './fs/durable.ts';
export { decode } from './gvariant/decode.ts';
export { encode, type Value, type Variant } from './gvariant/encode.ts';
export {
  hasObject,
  readCommit,
  readDetachedMetadata,
  readDirMeta,
  readDirTree,
  readFileObject,
  type StoredFile,
} from './repo/objects.ts';
export { isRefName, listRefs, readRef, resolveRev, setRef } from './repo/refs.ts';
export { type CreateRepoOptions, createRepo, openRepo, type Repo, type RepoMode } from './repo/repo.ts';
export { Transaction, type TransactionOptions, type TransactionStats, withTransaction } from './repo/transaction.ts';
