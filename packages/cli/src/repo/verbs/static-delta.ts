import { updateDeltaIndexes } from '@treeline/ostree/delta/index-file.ts';
import { deltaName, parseDeltaName } from '@treeline/ostree/delta/names.ts';
import type { PartStatistics } from '@treeline/ostree/delta/part-statistics.ts';
import { showDelta } from '@treeline/ostree/delta/show.ts';
import { deleteDelta, listDeltaIndexes, listDeltas } from '@treeline/ostree/delta/stored.ts';
import type { Superblock } from '@treeline/ostree/delta/superblock.ts';
import { OstreeError } from '@treeline/ostree/errors.ts';
import { formatSize } from '../size-text.ts';
import { commitOf, openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

export const staticDeltaList: RepoVerb = {
  usage: '',
  options: {},
  async run(parsed) {
    const deltas = await listDeltas(await openNamedRepo(parsed));
    if (deltas.length === 0) say('(No static deltas)');
    for (const { from, to } of deltas) say(deltaName(from, to));
  },
};

export const staticDeltaIndexes: RepoVerb = {
  usage: '',
  options: {},
  async run(parsed) {
    const commits = await listDeltaIndexes(await openNamedRepo(parsed));
    if (commits.length === 0) say('(No static deltas indexes)');
    for (const commit of commits) say(commit);
  },
};

export const staticDeltaReindex: RepoVerb = {
  usage: '',
  options: { to: { type: 'string', argument: 'REV', help: 'Only update delta index to revision REV' } },
  async run(parsed, signal) {
    const repo = await openNamedRepo(parsed);
    const to = parsed.text('to');
    await updateDeltaIndexes(repo, { signal, ...(to === undefined ? {} : { to: await commitOf(repo, to) }) });
  },
};

export const staticDeltaDelete: RepoVerb = {
  usage: 'DELTA',
  options: {},
  async run(parsed) {
    const name = required(parsed, 0, 'DELTA must be specified');
    await deleteDelta(await openNamedRepo(parsed), parseDeltaName(name));
  },
};

export const staticDeltaShow: RepoVerb = {
  usage: 'DELTA',
  options: {},
  async run(parsed) {
    const name = required(parsed, 0, 'DELTA must be specified');
    const { superblock, parts } = await showDelta(await openNamedRepo(parsed), name);
    showSuperblock(name, superblock);
    for (const [index, part] of parts.entries()) showPart(index, superblock.parts[index]!, part);
    showTotals(superblock);
  },
};

function showSuperblock(name: string, superblock: Superblock): void {
  const { from, to, endianness, guessed, timestamp, parents, fallbacks, parts, signed } = superblock;
  say(`Delta: ${name}`);
  say(`Signed: ${signed ? 'yes' : 'no'}`);
  say(from === null ? 'From <scratch>' : `From: ${from}`);
  say(`To: ${to}`);
  say(`Endianness: ${endianness}${guessed && endianness !== 'invalid' ? ' (heuristic)' : ''}`);
  say(`Timestamp: ${timestamp}`);
  say(`Number of parents: ${parents}`);
  say(`Number of fallback entries: ${fallbacks.length}`);
  for (const { checksum } of fallbacks) say(`  ${checksum}`);
  const { size, unpackedSize } = sum(fallbacks);
  say(`Total Fallback Size: ${size} (${formatSize(size)})`);
  say(`Total Fallback Uncompressed Size: ${unpackedSize} (${formatSize(unpackedSize)})`);
  say(`Number of parts: ${parts.length}`);
}

function showPart(index: number, part: Superblock['parts'][number], statistics: PartStatistics): void {
  const { modes, xattrs, blobBytes, operationBytes, operations: count } = statistics;
  say(`PartMeta${index}: nobjects=${part.objects.length} size=${part.size} usize=${part.unpackedSize}`);
  say(`PartPayload${index}: nmodes=${modes} nxattrs=${xattrs} blobsize=${blobBytes} opsize=${operationBytes}`);
  say(
    `PartPayloadOps${index}: openspliceclose=${count.S} open=${count.o} write=${count.w} setread=${count.r} ` +
      `unsetread=${count.R} close=${count.c} bspatch=${count.B}`,
  );
}

function showTotals({ parts, fallbacks }: Superblock): void {
  const inParts = sum(parts);
  const all = sum([...parts, ...fallbacks]);
  say(`Total Part Size: ${inParts.size} (${formatSize(inParts.size)})`);
  say(`Total Part Uncompressed Size: ${inParts.unpackedSize} (${formatSize(inParts.unpackedSize)})`);
  say(`Total Size: ${all.size} (${formatSize(all.size)})`);
  say(`Total Uncompressed Size: ${all.unpackedSize} (${formatSize(all.unpackedSize)})`);
}

function sum(list: readonly { size: number; unpackedSize: number }[]): { size: number; unpackedSize: number } {
  let size = 0;
  let unpackedSize = 0;
  for (const one of list) {
    size += one.size;
    unpackedSize += one.unpackedSize;
  }
  if (!Number.isSafeInteger(unpackedSize)) throw new OstreeError('corrupt', 'absurd sizes');
  return { size, unpackedSize };
}
