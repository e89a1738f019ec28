import { closeSync, openSync, writeSync } from 'node:fs';
import { constants, zstdCompressSync } from 'node:zlib';
import type { Checksum } from '../formats/object-name.ts';
import { encodePatch } from './bsdiff.ts';
import { findSteps, releaseMatcher, type Step } from './matcher.ts';
import { release } from './release.ts';
import { type ObjectSource, readContent } from './source-content.ts';

/** A regular file that a delta has to carry, and what it may be made from. */
export interface ObjectToEncode {
  checksum: Checksum;
  size: number;
  from: Checksum | null;
}

/** Where in a file of its own a worker has left bytes for a part, compressed. */
export interface Spooled {
  path: string;
  offset: number;
  /** Bytes as they are in the file. */
  stored: number;
  /** Bytes unpacked. */
  length: number;
}

/** How an object gets into a part. */
export type Encoding =
  /** As it is. `code` for x86 machine code. */
  | { kind: 'whole'; code: boolean }
  /** By a patch of the source. */
  | { kind: 'patch'; from: Checksum; patch: Spooled }
  /** By stretches of the source and of new bytes in turn. */
  | { kind: 'copy'; from: Checksum; fresh: Spooled; pieces: CopyPieces };

/** Pairs of a length and a position in the source, or -1 for new bytes. */
export type CopyPieces = Float64Array;

export interface EncodedObject {
  checksum: Checksum;
  size: number;
  encoding: Encoding;
  /** About how many bytes it will take, compressed. */
  estimate: number;
}

export interface EncodeOptions {
  source: ObjectSource;
  /** Whether there may be patches. */
  bsdiff: boolean;
  /** Source and result together may have this many bytes, at most, to be patched. */
  maxBsdiffBytes: number;
  /** The file for what is left for parts; further temporary files are named after it. */
  spool: string;
}

/** A stretch that is shorter costs as much to refer to as to repeat. */
const SHORTEST_COPY = 24;
/** A copy takes some bytes in the operations, which do not compress well. */
const COPY_COST = 6;
/** A control of a patch is 24 bytes that compress rather well. */
const CONTROL_COST = 4;
/** Estimates are no better than this: a patch it is, which compresses better than they say, where they differ by less. */
const UNSURE = 64;
/** A patch must save so much to be worth the client's reading another file. */
const WORTH = 0.98;

/** Chooses for each object the smallest of: as it is, a patch, copies. The same objects give the same result. */
export async function encodeObjects(
  objects: readonly ObjectToEncode[],
  options: EncodeOptions,
): Promise<EncodedObject[]> {
  const spool = new Spool(options.spool);
  let temporaries = 0;
  const temporary = () => `${options.spool}.${temporaries++}`;
  try {
    const encoded: EncodedObject[] = [];
    for (const object of objects) {
      const content = await readContent(options.source, object.checksum, temporary);
      const fits = object.from !== null && object.size > 0;
      const old = fits ? await readContent(options.source, object.from!, temporary) : null;
      encoded.push(encodeOne(object, content, old, options, spool));
      release(content);
      if (old) release(old);
    }
    return encoded;
  } finally {
    spool.close();
    releaseMatcher();
    if (scratchBuffer.length > KEPT_BYTES) {
      release(scratchBuffer);
      scratchBuffer = Buffer.alloc(0);
    }
  }
}

function encodeOne(
  { checksum, size, from }: ObjectToEncode,
  content: Uint8Array,
  old: Uint8Array | null,
  options: EncodeOptions,
  spool: Spool,
): EncodedObject {
  const whole: EncodedObject = {
    checksum,
    size,
    encoding: { kind: 'whole', code: isX86Code(content) },
    estimate: 0,
  };
  if (!old || from === null) return { ...whole, estimate: estimateWhole(content) };
  const steps = findSteps(old, content);
  const copy = copyScript(old, content, steps);
  const copyPacked = pack(copy.fresh);
  const copyLength = copy.fresh.length;
  const copyEstimate = copyPacked.length + (copy.pieces.length / 2) * COPY_COST;
  let best: EncodedObject | null = null;
  let bestEstimate = Number.POSITIVE_INFINITY;
  if (options.bsdiff && old.length + content.length <= options.maxBsdiffBytes) {
    const patch = encodePatch(old, content, steps, scratch);
    const packed = pack(patch);
    const estimate = packed.length + steps.length * CONTROL_COST;
    if (estimate <= copyEstimate * 1.02 + UNSURE) {
      bestEstimate = estimate;
      best = {
        checksum,
        size,
        encoding: { kind: 'patch', from, patch: spool.add(packed, patch.length) },
        estimate,
      };
    }
  }
  if (!best) {
    bestEstimate = copyEstimate;
    best = {
      checksum,
      size,
      encoding: { kind: 'copy', from, fresh: spool.add(copyPacked, copyLength), pieces: copy.pieces },
      estimate: copyEstimate,
    };
  }
  // What is obviously good need not be compared.
  if (bestEstimate > content.length / 8) {
    const estimate = estimateWhole(content);
    if (bestEstimate > estimate * WORTH) return { ...whole, estimate };
  }
  return best;
}

/** More of a file than this is not compressed just to know how well that works. */
const SAMPLE_BYTES = 4 * 1024 * 1024;

function estimateWhole(content: Uint8Array): number {
  if (content.length <= SAMPLE_BYTES) return pack(content).length;
  return Math.round((pack(content.subarray(0, SAMPLE_BYTES)).length * content.length) / SAMPLE_BYTES);
}

const LEVEL = { params: { [constants.ZSTD_c_compressionLevel]: 3 } };

function pack(data: Uint8Array): Buffer {
  return zstdCompressSync(data, LEVEL);
}

let scratchBuffer = Buffer.alloc(0);
const KEPT_BYTES = 4 * 1024 * 1024;

/** The one buffer that patches and new bytes are made in, one after the other: they are compressed at once. */
function scratch(length: number): Buffer {
  if (scratchBuffer.length < length) scratchBuffer = Buffer.allocUnsafeSlow(length + (length >> 2));
  return scratchBuffer.subarray(0, length);
}

/** Turns steps into stretches that are exactly the same, and what is between them: good until the next `scratch`. */
function copyScript(
  old: Uint8Array,
  content: Uint8Array,
  steps: readonly Step[],
): { fresh: Uint8Array; pieces: CopyPieces } {
  const fresh = scratch(content.length);
  let filled = 0;
  const pieces: number[] = [];
  let pending = 0;
  const take = (start: number, length: number) => {
    fresh.set(content.subarray(start, start + length), filled);
    filled += length;
    pending += length;
  };
  for (const step of steps) {
    let from = 0;
    for (let at = 0; at <= step.similar; ) {
      let run = 0;
      while (at + run < step.similar && old[step.oldStart + at + run] === content[step.newStart + at + run]) run++;
      if (run >= SHORTEST_COPY) {
        take(step.newStart + from, at - from);
        if (pending > 0) pieces.push(pending, -1);
        pending = 0;
        pieces.push(run, step.oldStart + at);
        from = at + run;
      }
      at += run + 1;
    }
    take(step.newStart + from, step.similar - from + step.fresh);
  }
  if (pending > 0) pieces.push(pending, -1);
  return { fresh: fresh.subarray(0, filled), pieces: Float64Array.from(pieces) };
}

/** Whether it is an ELF file for x86 or x86-64, in which jump targets can be rewritten. */
function isX86Code(content: Uint8Array): boolean {
  const elf = content[0] === 0x7f && content[1] === 0x45 && content[2] === 0x4c && content[3] === 0x46;
  const machine = (content[18] ?? 0) | ((content[19] ?? 0) << 8);
  return elf && content[5] === 1 && (machine === 3 || machine === 62);
}

class Spool {
  readonly #path: string;
  #fd: number | null = null;
  #at = 0;

  constructor(path: string) {
    this.#path = path;
  }

  add(packed: Uint8Array, length: number): Spooled {
    this.#fd ??= openSync(this.#path, 'wx', 0o600);
    const offset = this.#at;
    for (let at = 0; at < packed.length; ) at += writeSync(this.#fd, packed, at);
    this.#at += packed.length;
    return { path: this.#path, offset, stored: packed.length, length };
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
  }
}
