import type { PullStats } from '@treeline/ostree';
import { formatBytes } from '../output/bytes.ts';

/** The closing line of `ostree pull`. */
export function formatPull(stats: PullStats, milliseconds: number): string {
  const { metadataFetched, contentFetched, bytesTransferred, bytesUnpacked } = stats;
  return (
    `${metadataFetched} metadata, ${contentFetched} content objects fetched; ` +
    `${formatBytes(bytesTransferred)} transferred in ${Math.round(milliseconds / 1000)} seconds; ` +
    `${formatBytes(bytesUnpacked)} content written`
  );
}
