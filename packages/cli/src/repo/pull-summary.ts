import type { PullPrediction } from '@treeline/ostree/pull/prediction.ts';
import type { PullStats } from '@treeline/ostree/pull/pull.ts';
import { formatSize } from './size-text.ts';

/** The closing line of `ostree pull` and `ostree pull-local`, as of libostree 2022.7. */
export function formatPull(stats: PullStats, milliseconds: number): string {
  const { contentFetched, deltaParts, local, bytesTransferred } = stats;
  // Asking for signatures that there are none of counts, too.
  const metadata = stats.metadataFetched + (local ? 0 : stats.detachedMissing);
  const counts = local
    ? `${metadata} metadata, ${contentFetched} content objects imported`
    : deltaParts > 0
      ? `${deltaParts} delta parts, ${metadata + contentFetched} loose fetched`
      : `${metadata} metadata, ${contentFetched} content objects fetched`;
  const { metadataFromCaches, contentFromCaches } = stats;
  const cached =
    metadataFromCaches + contentFromCaches > 0
      ? ` (${metadataFromCaches} meta, ${contentFromCaches} content local)`
      : '';
  const transferred =
    local || bytesTransferred === 0
      ? ''
      : `; ${formatTransferred(bytesTransferred)} transferred in ${Math.floor(milliseconds / 1000)} seconds`;
  return `${counts}${cached}${transferred}; ${formatSize(stats.contentWritten)} content written`;
}

function formatTransferred(bytes: number): string {
  return bytes < 1024 ? `${bytes} B` : `${Math.floor(bytes / 1024)} KiB`;
}

/** What `ostree pull --dry-run` says of static deltas. */
export function formatDeltaPrediction({ deltas }: PullPrediction): string {
  const { partsHere, parts, bytesHere, bytes, unpacked } = deltas;
  const sizes = `${formatSize(bytesHere)}/${formatSize(bytes)}, ${formatSize(unpacked)} total uncompressed`;
  return `Delta update: ${partsHere}/${parts} parts, ${sizes}`;
}

/** What a pull would fetch, whether by deltas or not. */
export function formatPrediction(prediction: PullPrediction): string[] {
  const { deltas, objects } = prediction;
  const lines: string[] = deltas.parts > 0 ? [formatDeltaPrediction(prediction)] : [];
  if (objects.objects > 0 || lines.length === 0) {
    const sizes = `${formatSize(objects.archived)}, ${formatSize(objects.unpacked)} total uncompressed`;
    lines.push(`Object update: ${objects.objects} objects, ${sizes}`);
  }
  return lines;
}
