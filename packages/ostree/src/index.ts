export { type CheckoutOptions, type CheckoutStats, checkout } from './checkout/checkout.ts';
export { bootableMetadata } from './commit/bootable.ts';
export { checksumFile } from './commit/checksum-file.ts';
export { commitSizes } from './commit/commit-sizes.ts';
export { ConsumedPaths } from './commit/consumed.ts';
export { type WriteFolderOptions, writeFolder } from './commit/folder.ts';
export { type ObjectLinks, scanObjectLinks } from './commit/hard-links.ts';
export { type WriteImageOptions, writeImage } from './commit/image.ts';
export { indexCheckout } from './commit/index-checkout.ts';
export type { CheckedOut } from './commit/lost-attributes.ts';
export { type ModifierOptions, StatOverrides } from './commit/modifier.ts';
export { modifyTree } from './commit/ref-tree.ts';
export { type WriteTarOptions, writeTar } from './commit/tar.ts';
export type { TarEntry } from './commit/tar-entries.ts';
export { type NewCommit, writeCommit } from './commit/write-commit.ts';
export { type ComposeOptions, compose, type Layer } from './compose/compose.ts';
export { filterTree } from './compose/filter-tree.ts';
export { type EtcMerge, type EtcSides, mergeEtc } from './compose/merge-etc.ts';
export { type ApplyDeltaOptions, applyDelta } from './delta/apply.ts';
export {
  type GenerateDeltaOptions,
  type GeneratedDelta,
  generateDelta,
} from './delta/generate.ts';
export {
  decodeDeltaIndex,
  decodeDeltaList,
  encodeDeltaIndex,
  encodeDeltaList,
  type ListedDelta,
  type UpdateDeltaIndexesOptions,
  updateDeltaIndexes,
} from './delta/index-file.ts';
export {
  type DeltaName,
  deltaFolder,
  deltaIndexPath,
  deltaName,
  deltaSuperblockPath,
  parseDeltaName,
} from './delta/names.ts';
export { type ApplyOfflineOptions, applyOfflineDelta } from './delta/offline.ts';
export type { OperationLetter } from './delta/operations.ts';
export type { PartStatistics } from './delta/part-statistics.ts';
export type { DeltaStats } from './delta/plan.ts';
export { type DeltaDescription, showDelta } from './delta/show.ts';
export {
  deleteDelta,
  hasDelta,
  isRetiredDelta,
  listDeltaIndexes,
  listDeltas,
  readSuperblock,
  retireDelta,
  superblockDigest,
} from './delta/stored.ts';
export {
  type DecodeSuperblockOptions,
  type DeltaFallback,
  type DeltaObject,
  type DeltaObjectType,
  type DeltaPart,
  decodeSuperblock,
  type Superblock,
} from './delta/superblock.ts';
export { isSignedDelta, verifyDelta, verifySuperblock } from './delta/verify.ts';
export { type ChangeKind, diffPaths, type PathChange } from './diff/compare.ts';
export { type ChangeDescription, describeChange, type NodeDescription } from './diff/describe-change.ts';
export {
  type Change,
  type Difference,
  type DiffOptions,
  type DirNode,
  diffSides,
  diffTrees,
  type FileNode,
  type Node,
} from './diff/diff.ts';
export { type DownloadSize, downloadSize, lackingSize, reachable } from './diff/download.ts';
export { applyOverlay, exportOverlay, type OverlayOptions } from './diff/overlay.ts';
export { type PatchOptions, patchText } from './diff/patch.ts';
export type { DiffSide, FolderSide, RepoSide } from './diff/side.ts';
export { type DeltaTransfer, type TransferAmount, type TransferSize, transferSize } from './diff/transfer-size.ts';
export { OstreeError, type OstreeErrorCode, type OstreeErrorOptions } from './errors.ts';
export { type ExportTarOptions, exportTar } from './export/write-tar.ts';
export { type CopyToMediumOptions, copyToMedium } from './find/copy-to-medium.ts';
export { type FinderKind, type FindRemotesOptions, type FoundRemote, findRemotes } from './find/find-remotes.ts';
export { type Commit, type Metadata, metadataValue } from './formats/commit.ts';
export type { DirMeta } from './formats/dirmeta.ts';
export type { DirTree } from './formats/dirtree.ts';
export type { FileHeader } from './formats/file.ts';
export {
  escapeKeyFileString,
  isKeyFileGroup,
  isKeyFileKey,
  type KeyFile,
  unescapeKeyFileString,
} from './formats/keyfile.ts';
export { type Checksum, compareNames, isChecksum, type ObjectType, type Tree } from './formats/object-name.ts';
export { decodeSizes, encodeSizes, type ObjectSize } from './formats/sizes.ts';
export { decodeSummary, encodeSummary, type Summary, type SummaryRef } from './formats/summary.ts';
export { type DurableWriteOptions, syncFolder, writeFileDurably } from './fs/durable.ts';
export { readXattrs, writeXattrs, type Xattr } from './fs/syscalls.ts';
export { type DamagedObject, type FsckOptions, type FsckReport, fsck } from './fsck/fsck.ts';
export { type RepairReport, type RepairSource, repair } from './fsck/repair.ts';
export { byteswap } from './gvariant/byteswap.ts';
export { type DecodeOptions, decode } from './gvariant/decode.ts';
export { encode, type Value, type Variant } from './gvariant/encode.ts';
export { parseValue } from './gvariant/parse.ts';
export { printValue } from './gvariant/print.ts';
export type { Cookie } from './http/cookies.ts';
export {
  type MirrorMemory,
  type MirrorOptions,
  type MirrorReport,
  mirrorMemory,
  mirrorRemote,
} from './mirror/mirror.ts';
export { deleteCommit } from './prune/delete-commit.ts';
export { type PruneDeltasOptions, pruneDeltas } from './prune/deltas.ts';
export { type RemoveLeftoversOptions, removeLeftovers } from './prune/leftovers.ts';
export { type PruneOptions, type PruneReport, prune } from './prune/prune.ts';
export type { RetentionOptions } from './prune/retention.ts';
export { type ClosureOptions, hasClosure, type Missing } from './pull/closure.ts';
export { type FetchRemoteSummaryOptions, fetchRemoteSummary, summaryRefs } from './pull/configured-summary.ts';
export { addCookie, deleteCookie, listCookies } from './pull/cookie-jar.ts';
export { type CopyClosureOptions, copyClosure } from './pull/copy.ts';
export type { HttpOptions, TlsOptions } from './pull/http.ts';
export type { HttpPlaces } from './pull/open-source.ts';
export type { LackingObjects, PullPrediction } from './pull/prediction.ts';
export type { PullProgress } from './pull/progress.ts';
export { type PullOptions, type PullStats, pull } from './pull/pull.ts';
export { type RemoteOptions, remoteOptions } from './pull/remote-config.ts';
export type { SummaryFiles } from './pull/summary-file.ts';
export type { DeltaUse } from './pull/transfer-plan.ts';
export { PushConflict } from './push/conflict.ts';
export type { FinishRequest, FinishResult, RecordMove, RefMove } from './push/finish.ts';
export {
  type PushCaller,
  type PushErrorAnswer,
  type PushHandler,
  type PushHandlerOptions,
  pushErrorAnswer,
  pushHandler,
} from './push/handler.ts';
export type { ObjectId, ObjectState } from './push/object-list.ts';
export {
  encodePack,
  PackDecoder,
  type PackEvents,
  type PackedType,
  type PackPiece,
  type PackRecord,
} from './push/pack.ts';
export { type PushOptions, type PushProgress, type PushStats, push } from './push/push.ts';
export type { PackReceipt } from './push/receive-pack.ts';
export { type OpenedPush, type PushLimits, PushReceiver, type PushReceiverOptions } from './push/receiver.ts';
export type { PushRemoteOptions } from './push/remote.ts';
export type { PushIdentity } from './push/session.ts';
export {
  assertCollectionId,
  type CollectionRef,
  isCollectionId,
  type ListCollectionRefsOptions,
  listCollectionRefs,
  ownCollection,
  readCollectionRef,
  setCollectionRef,
} from './repo/collection-refs.ts';
export {
  hasObject,
  readCommit,
  readDetachedMetadata,
  readDirMeta,
  readDirTree,
  readFileObject,
  readMetadata,
  type StoredFile,
} from './repo/objects.ts';
export {
  isRefName,
  type ListRefsOptions,
  listAliases,
  listCommits,
  listRefs,
  parseRefspec,
  readRef,
  resolveRev,
  setAlias,
  setRef,
  tryResolveRev,
} from './repo/refs.ts';
export {
  type AddRemoteOptions,
  addRemote,
  deleteRemote,
  type RemoteConfig,
  type RemotesOptions,
  readRemote,
  readRemotes,
} from './repo/remotes.ts';
export { type CreateRepoOptions, createRepo, openRepo, type Repo, type RepoMode, writeConfig } from './repo/repo.ts';
export { Transaction, type TransactionOptions, type TransactionStats, withTransaction } from './repo/transaction.ts';
export { lookUp, subtree, type TreeReader, treeReader } from './repo/tree-reader.ts';
export { type RepositoryHandler, type RepositoryHandlerOptions, repositoryHandler } from './serve/handler.ts';
export { type RepositoryServer, type ServeOptions, serveRepository } from './serve/server.ts';
export { type ImportGpgKeysOptions, importGpgKeys } from './sign/gpg-import.ts';
export {
  type GpgKey,
  type GpgSubkey,
  type GpgUser,
  type WebKeyDirectoryUrls,
  webKeyDirectoryUrls,
} from './sign/gpg-key.ts';
export { anyKeyring, type GpgKeyring, globalKeyring, gpgKeyring, remoteKeyring } from './sign/gpg-keyring.ts';
export { formatGpgSignature, formatLocalTime, type GpgSignature } from './sign/gpg-signature.ts';
export {
  decodeSignatures,
  remoteVerification,
  type Signed,
  signaturesOf,
  type Verification,
  type VerificationOverrides,
  type VerifiedSignature,
  verifySigned,
} from './sign/remote-verification.ts';
export {
  addMissingSignatures,
  addSignatures,
  deleteSignatures,
  isIssuedBy,
  mergeDetachedMetadata,
  type SignOptions,
  signCommit,
  signSummary,
} from './sign/sign.ts';
export { type PublicKeys, type SignatureType, signatureType, type Verifier } from './sign/signature-type.ts';
export {
  type CommandSignerOptions,
  commandSigner,
  dummySigner,
  ed25519Signer,
  type GpgSignerOptions,
  gpgSigner,
  type SignatureKey,
  type Signer,
} from './sign/signer.ts';
export type { CopyMode } from './static-copy/placer.ts';
export { type ExportedStatic, type ExportStaticOptions, exportStatic } from './static-copy/static-copy.ts';
export type { SummaryChanges } from './summary/listing.ts';
export type { PublishSummaryOptions } from './summary/publish.ts';
export { autoUpdateSummary, type UpdateSummaryOptions, updateSummary } from './summary/update.ts';
export type { Amount, DeltaAmount } from './usage/amount.ts';
export { CountedFiles } from './usage/counted-files.ts';
export {
  type DiskUse,
  type DiskUseOptions,
  type DiskUseRoot,
  diskUse,
  type RootDiskUse,
} from './usage/disk-use.ts';
export type { OtherFiles } from './usage/object-table.ts';
export type { Reached } from './usage/reach.ts';
export { type IdShift, SHIFTED_IDS } from './work/shifted-ids.ts';
export type { StoredObject } from './work/store-file.ts';
