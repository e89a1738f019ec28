import type { FileHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import type { Checksum } from '../formats/object-name.ts';
import type { PartFile, PartToBuild } from './build-part.ts';
import type { Encoding } from './encode-object.ts';

/** A new file with all that is known of it before parts are filled. */
export interface FileToArrange {
  checksum: Checksum;
  paths: readonly string[];
  header: FileHeader;
  size: number;
  encoding: Encoding;
  /** About how many bytes it will take, compressed. */
  estimate: number;
}

export interface MetadataToArrange {
  type: 'dirtree' | 'dirmeta';
  checksum: Checksum;
  size: number;
}

/** What one part is to hold, and about how many bytes that is before and after compression. */
export interface ArrangedPart {
  metadata: PartToBuild['metadata'];
  files: PartFile[];
  payload: number;
  estimate: number;
}

/** What a group takes beside its payload: checksum of the source, operations. */
const FILE_BYTES = 64;

/**
 * Deals objects out to parts: metadata first, then files, such that what is alike lies together, each part with a
 * payload of at most `maxPayload` bytes unless one object alone is larger. Depends on nothing but its arguments.
 */
export function arrange(
  metadata: readonly MetadataToArrange[],
  files: readonly FileToArrange[],
  maxPayload: number,
): ArrangedPart[] {
  const parts: ArrangedPart[] = [];
  let part = newPart();
  const room = (bytes: number) => {
    if (part.payload > 0 && part.payload + bytes > maxPayload) {
      parts.push(part);
      part = newPart();
    }
    part.payload += bytes;
  };
  for (const { type, checksum, size } of metadata) {
    room(size + 8);
    part.metadata.push({ type, checksum });
    part.estimate += Math.ceil(size / 2);
  }
  let group: Group | null = null;
  for (const { file, key } of files
    .map((file) => ({ file, key: sortKey(file) }))
    .sort((a, b) => compare(a.key, b.key))) {
    const payload = payloadBytes(file) + FILE_BYTES;
    // Groups want settings of their own, which is worth a part of its own only for so much.
    if (group !== null && key.group !== group && part.estimate > GROUP_BYTES) {
      parts.push(part);
      part = newPart();
    }
    group = key.group;
    room(payload);
    const { checksum, header, size, encoding } = file;
    part.files.push({ checksum, header, size, encoding });
    part.estimate += file.estimate + FILE_BYTES;
  }
  // A delta without changes, too, has a part: every libostree has made them so.
  if (part.payload > 0 || parts.length === 0) parts.push(part);
  return parts;
}

const GROUP_BYTES = 1024 * 1024;

function newPart(): ArrangedPart {
  return { metadata: [], files: [], payload: 0, estimate: 0 };
}

function payloadBytes({ encoding, size, header }: FileToArrange): number {
  if (encoding.kind === 'patch') return encoding.patch.length;
  if (encoding.kind === 'copy') return encoding.fresh.length + encoding.pieces.length * 4;
  return (header.mode & S_IFMT) === S_IFLNK ? header.symlinkTarget.length : size;
}

/** What goes through the compressor in turn: patches, other content, machine code. */
type Group = 0 | 1 | 2;

interface SortKey {
  group: Group;
  /** Kind of file, by its name. */
  kind: string;
  path: string;
}

function sortKey({ encoding, paths }: FileToArrange): SortKey {
  const path = paths[0]!;
  const name = path.slice(path.lastIndexOf('/') + 1);
  const dot = name.indexOf('.', 1);
  const kind = dot < 0 ? '' : name.slice(dot).replace(/[\d.]+/g, '.');
  const group = encoding.kind === 'patch' ? 0 : encoding.kind === 'whole' && encoding.code ? 2 : 1;
  return { group, kind, path };
}

function compare(a: SortKey, b: SortKey): number {
  if (a.group !== b.group) return a.group - b.group;
  if (a.kind !== b.kind) return a.kind < b.kind ? -1 : 1;
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}
