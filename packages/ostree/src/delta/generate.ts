import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { decodeCommit, type Metadata } from '../formats/commit.ts';
import { assertChecksum, type Checksum } from '../formats/object-name.ts';
import { syncFolder } from '../fs/durable.ts';
import { syncFilesystem } from '../fs/syscalls.ts';
import { lockRepo } from '../repo/lock.ts';
import { readDetachedMetadata, readMetadata } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { openStaging, type Staging } from '../repo/staging.ts';
import type { Signer } from '../sign/signer.ts';
import { DeltaWork } from './delta-work.ts';
import { deltaFolder } from './names.ts';
import { type DeltaStats, planDelta } from './plan.ts';
import { RETIRED } from './stored.ts';
import { type DeltaFallback, type DeltaPart, encodeSignedSuperblock, encodeSuperblock } from './superblock.ts';

/** Between which commits a delta is made, and how. Sizes are in bytes. */
export interface GenerateDeltaOptions {
  /** Source commit; null makes a delta from scratch. */
  from: Checksum | null;
  to: Checksum;
  /** Files larger than this many bytes for which there is no source are left to be fetched by themselves; 0: none. */
  minFallbackBytes?: number;
  /** A source and its result may have this many bytes together to be patched. */
  maxBsdiffBytes?: number;
  /** Payload of a part, at most, unless one file alone is larger. */
  maxPartBytes?: number;
  /** Whether to make patches at all. */
  bsdiff?: boolean;
  /** Keep the parts inside the superblock. */
  inline?: boolean;
  endianness?: 'little' | 'big';
  /** Write the superblock to this file, and parts beside it, instead of into the repository. */
  file?: string;
  /** Metadata of one's own, which comes first in the superblock. */
  metadata?: Metadata;
  /** Sign the superblock. A client can then apply it offline only: over HTTP, libostree expects it unsigned. */
  signers?: readonly Signer[];
  /** Seconds since 1970; default now. */
  timestamp?: number;
  /** About how many bytes of memory workers may take at once; default what four cores need. More lets more work. */
  memoryBytes?: number;
  signal?: AbortSignal;
  /** Told now and then how far it is. */
  onProgress?: (progress: { phase: 'compare' | 'compress'; done: number; total: number }) => void;
}

/** A delta that was made. */
export interface GeneratedDelta {
  from: Checksum | null;
  to: Checksum;
  /** The superblock's path. */
  path: string;
  parts: readonly DeltaPart[];
  fallbacks: readonly DeltaFallback[];
  /** Bytes of superblock and parts, without fallbacks. */
  size: number;
  stats: DeltaStats;
}

/** What a delta was made of. */
/**
 * Makes a static delta: what a client that has `from` needs to make `to`. The same commits and options give the same
 * parts, whatever the number of cores. The delta is there, whole, when the superblock is: it is written last.
 *
 * @throws OstreeError `not-found` when a commit or an object is missing
 */
export async function generateDelta(repo: Repo, options: GenerateDeltaOptions): Promise<GeneratedDelta> {
  const { from, to, signal } = options;
  assertChecksum(to);
  if (from !== null) assertChecksum(from);
  const unlock = await lockRepo(repo, 'shared', signal);
  try {
    const path = options.file ?? join(repo.path, deltaFolder(from, to), 'superblock');
    const folder = dirname(path);
    mkdirSync(folder, { recursive: true });
    const scratch = await openScratch(repo, options.file === undefined ? null : folder);
    try {
      return await generate(repo, options, { path, folder, scratch: scratch.path });
    } finally {
      await scratch.close();
    }
  } finally {
    unlock();
  }
}

/** Where parts wait. In the repository's own `tmp` whoever writes next removes what a killed process left. */
async function openScratch(repo: Repo, folder: string | null): Promise<Pick<Staging, 'path' | 'close'>> {
  if (folder === null) return openStaging(repo);
  const path = await mkdtemp(join(folder, 'delta-'));
  return { path, close: () => rm(path, { recursive: true, force: true }) };
}

interface Places {
  path: string;
  folder: string;
  scratch: string;
}

async function generate(repo: Repo, options: GenerateDeltaOptions, places: Places): Promise<GeneratedDelta> {
  const { from, to, signal } = options;
  const commit = await readMetadata(repo, 'commit', to);
  const work = new DeltaWork(repo, places.scratch, options);
  const plan = await planDelta(repo, from, decodeCommit(commit, `${to}.commit`), options, work);
  const parts = await work.build(plan.parts);
  signal?.throwIfAborted();
  const inline = options.inline ?? false;
  const superblock = encodeSuperblock({
    ...(options.metadata ? { metadata: options.metadata } : {}),
    timestamp: options.timestamp ?? Math.floor(Date.now() / 1000),
    from,
    to,
    commit,
    commitMetadata: await readDetachedMetadata(repo, to),
    parts: parts.map(({ path, ...part }) => ({ ...part, inline: inline ? readFileSync(path) : null })),
    fallbacks: plan.fallbacks,
    endianness: options.endianness ?? 'little',
  });
  const file = options.signers?.length ? await sign(superblock, options.signers, signal) : superblock;
  await publish(file, inline ? [] : parts.map(({ path }) => path), places);
  return {
    from,
    to,
    path: places.path,
    parts: parts.map(({ path: _, ...part }) => ({ ...part, inline: null })),
    fallbacks: plan.fallbacks,
    size: file.length + (inline ? 0 : parts.reduce((sum, { size }) => sum + size, 0)),
    stats: plan.stats,
  };
}

async function sign(data: Buffer, signers: readonly Signer[], signal: AbortSignal | undefined): Promise<Buffer> {
  const signatures = new Map<string, Uint8Array[]>();
  for (const signer of signers) {
    const list = signatures.get(signer.metadataKey) ?? [];
    list.push(await signer.sign(data, signal));
    signatures.set(signer.metadataKey, list);
  }
  return encodeSignedSuperblock(
    data,
    [...signatures].map(([key, value]) => [key, { type: 'aay', value }]),
  );
}

/** Moves a delta into place: parts, then the superblock, then whatever an earlier delta of this name had more of. */
async function publish(superblock: Buffer, parts: string[], { path, folder, scratch }: Places): Promise<void> {
  const staged = join(scratch, 'superblock');
  writeFileSync(staged, superblock, { mode: 0o644 });
  const fd = openSync(staged, 'r');
  try {
    syncFilesystem(fd);
  } finally {
    closeSync(fd);
  }
  for (const [index, part] of parts.entries()) await rename(part, join(folder, String(index)));
  await syncFolder(folder);
  await rename(staged, path);
  if (basename(path) === 'superblock') {
    for (const name of await readdir(folder)) {
      const isOld = /^\d+$/.test(name) && Number(name) >= parts.length;
      if (isOld || name === RETIRED) await rm(join(folder, name), { force: true });
    }
  }
  await syncFolder(folder);
}
