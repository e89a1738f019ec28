import { statfsSync } from 'node:fs';
import { OstreeError } from '../errors.ts';
import type { Repo } from './repo.ts';
import { repoSettings } from './settings.ts';

/** Bytes that may still be written to a repository before its `min-free-space-*` is touched. May be negative. */
export function usableBytes(repo: Repo): number {
  const { minFreeSpace } = repoSettings(repo.config);
  const { bsize, blocks, bavail } = statfsSync(repo.path);
  const reserved = 'bytes' in minFreeSpace ? minFreeSpace.bytes : (bsize * blocks * minFreeSpace.percent) / 100;
  return bsize * bavail - reserved;
}

/**
 * Checks before a transfer that there is room for it.
 *
 * @param bytes that are going to be written
 * @throws OstreeError `no-space`, in libostree's words
 */
export function assertFreeSpace(repo: Repo, bytes: number): void {
  const usable = usableBytes(repo);
  if (bytes > usable) throw noSpace(repo, bytes, usable);
}

/** The error for a repository in which `bytes` more cannot be written. */
export function noSpace(repo: Repo, bytes: number, usable: number): OstreeError {
  const { minFreeSpace } = repoSettings(repo.config);
  const limit =
    'bytes' in minFreeSpace
      ? `min-free-space-size ${minFreeSpace.bytes / 2 ** 20}MB`
      : `min-free-space-percent '${minFreeSpace.percent}%'`;
  return new OstreeError('no-space', `${limit} would be exceeded, at least ${formatSize(bytes)} requested`, {
    hint: `${repo.path} may take ${formatSize(Math.max(0, usable))} more: free some space, or lower the limit in its config.`,
  });
}

/** Bytes as GLib's g_format_size writes them: `999 bytes`, `1.0 kB`, in powers of 1000. */
export function formatSize(bytes: number): string {
  if (bytes < 1000) return bytes === 1 ? '1 byte' : `${bytes} bytes`;
  const units = ['kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = -1;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toFixed(1)} ${units[unit]}`;
}
