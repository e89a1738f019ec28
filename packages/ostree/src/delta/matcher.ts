import { release } from './release.ts';

/**
 * A way to make new content from old: each step takes bytes of the old content, which may differ a little, and then
 * bytes that are new.
 */
export interface Step {
  /** Where the old bytes start in the old content. */
  oldStart: number;
  /** Where the new content goes on with this step. */
  newStart: number;
  /** How many bytes of the old content it takes, about as they are. */
  similar: number;
  /** How many new bytes follow. */
  fresh: number;
}

/** Bytes that must be the same for two places to be compared at all. */
const SEED_BYTES = 12;
/** Places with the same seed that are looked at. */
const CHAIN = 16;
/** A match of this length is not bettered. */
const LONG = 1024;
/** As long as this many bytes go on as expected nothing else is looked for. */
const GOOD_RUN = 32;
/** Of this many bytes ahead, so many the same are a good sign. */
const WINDOW = 32;
const MOSTLY = 20;
/** A place elsewhere must match by this many bytes more to be worth a step (bsdiff's number). */
const WORTH = 8;

/**
 * Finds what new content has in common with old: as bsdiff does, stretches that are mostly the same, so that code
 * whose addresses have moved still counts, but from a hash of short seeds instead of a suffix array: in linear time.
 * Takes 40 MiB at most beside the two contents, which are shorter than 2 GiB.
 */
export function findSteps(old: Uint8Array, content: Uint8Array): Step[] {
  const [n, m] = [old.length, content.length];
  if (isInPlace(old, content)) return [makeStep(old, content, { oldStart: 0, newStart: 0, scan: m, place: -1 })];
  const steps: Step[] = [];
  const index = new SeedIndex(old, content);
  let scan = 0;
  // Where the step that is being made starts.
  let newStart = 0;
  let oldStart = 0;
  // Where the old content goes on, relative to the new.
  let shift = 0;
  // What goes on as expected does so up to here, at least.
  let runEnd = 0;
  // How many of the next bytes are as expected, counted for this position.
  let window = -1;
  let ahead = 0;
  const expected = (at: number) =>
    at < m && at + shift < n && at + shift >= 0 && old[at + shift] === content[at] ? 1 : 0;
  while (scan < m) {
    if (scan >= runEnd) runEnd = scan + runLength(old, content, scan + shift, scan);
    if (runEnd - scan >= GOOD_RUN || runEnd === m) {
      scan = runEnd;
      continue;
    }
    if (window === scan - 1) ahead += expected(scan - 1 + WINDOW) - expected(scan - 1);
    else {
      ahead = 0;
      for (let at = scan; at < scan + WINDOW; at++) ahead += expected(at);
    }
    window = scan;
    // Where most goes on as expected, a far better place is not missed by looking now and then.
    if (ahead >= MOSTLY && (scan & 7) !== 0) {
      scan++;
      continue;
    }
    const length = index.longest(scan);
    const place = index.place;
    if (length > WORTH && place - scan !== shift) {
      if (length > sameBytes(old, content, scan + shift, scan, length) + WORTH) {
        const step = makeStep(old, content, { oldStart, newStart, scan, place });
        steps.push(step);
        oldStart = step.oldNext;
        newStart = step.newNext;
        shift = place - scan;
        scan += length;
        runEnd = scan;
        window = -1;
        continue;
      }
    }
    scan++;
  }
  steps.push(makeStep(old, content, { oldStart, newStart, scan: m, place: -1 }));
  return steps;
}

/**
 * Whether nearly everything is where it was, so that looking elsewhere for the rest would find little: most kernel
 * modules of a rebuilt kernel, for one, differ in a few numbers and in their signature.
 */
function isInPlace(old: Uint8Array, content: Uint8Array): boolean {
  let left = Math.max(content.length / 128, 1024);
  for (let start = 0; start < content.length; start += WINDOW) {
    const length = Math.min(WINDOW, content.length - start);
    if (sameBytes(old, content, start, start, length) * WINDOW >= length * MOSTLY) continue;
    left -= length;
    if (left < 0) return false;
  }
  return true;
}

/** How many bytes from two places on are the same. */
function runLength(old: Uint8Array, content: Uint8Array, oldAt: number, at: number): number {
  if (oldAt < 0) return 0;
  const limit = Math.min(old.length - oldAt, content.length - at);
  let run = 0;
  while (run < limit && old[oldAt + run] === content[at + run]) run++;
  return run;
}

/** How many of `length` bytes from two places on are the same. */
function sameBytes(old: Uint8Array, content: Uint8Array, oldAt: number, at: number, length: number): number {
  let same = 0;
  const start = Math.max(0, -oldAt);
  const end = Math.min(length, old.length - oldAt);
  for (let index = start; index < end; index++) if (old[oldAt + index] === content[at + index]) same++;
  return same;
}

interface Boundary {
  oldStart: number;
  newStart: number;
  /** Where a match at another place begins, in the new content. */
  scan: number;
  /** Where it begins in the old content; negative at the end, where there is none. */
  place: number;
}

/**
 * Ends a step where another place matches better: the stretch before grows forward and the next grows backward for as
 * long as more than half of the bytes are the same; where they meet, the better one has them.
 */
function makeStep(
  old: Uint8Array,
  content: Uint8Array,
  { oldStart, newStart, scan, place }: Boundary,
): Step & { oldNext: number; newNext: number } {
  const n = old.length;
  let forward = 0;
  {
    let same = 0;
    let best = 0;
    const limit = Math.min(scan - newStart, n - oldStart);
    for (let length = 0; length < limit; ) {
      if (old[oldStart + length] === content[newStart + length]) same++;
      length++;
      if (2 * same - length > best) {
        best = 2 * same - length;
        forward = length;
      }
    }
  }
  let backward = 0;
  if (place >= 0) {
    let same = 0;
    let best = 0;
    const limit = Math.min(scan - newStart, place);
    for (let length = 1; length <= limit; length++) {
      if (old[place - length] === content[scan - length]) same++;
      if (2 * same - length > best) {
        best = 2 * same - length;
        backward = length;
      }
    }
  }
  const overlap = newStart + forward - (scan - backward);
  if (overlap > 0) {
    let gain = 0;
    let best = 0;
    let keep = 0;
    const [left, right] = [forward - overlap, scan - backward];
    for (let index = 0; index < overlap; index++) {
      const byte = content[right + index];
      if (old[oldStart + left + index] === byte) gain++;
      if (old[place - backward + index] === byte) gain--;
      if (gain > best) {
        best = gain;
        keep = index + 1;
      }
    }
    forward = left + keep;
    backward -= keep;
  }
  const newNext = scan - backward;
  return {
    oldStart,
    newStart,
    similar: forward,
    fresh: newNext - newStart - forward,
    oldNext: place - backward,
    newNext,
  };
}

/** Places that are indexed, at most; of larger content only every second, third, … */
const MAX_PLACES = 1 << 23;
const MAX_BUCKETS = 1 << 20;
/** Of content up to this size every place is indexed. */
const EVERY_PLACE_BYTES = 1 << 16;

/** A buffer of a thread's own that is used again for each file, but not kept when it had to be large for one. */
class Scratch {
  #kept = new Int32Array(0);

  take(length: number): Int32Array {
    if (this.#kept.length < length) {
      release(new Uint8Array(this.#kept.buffer));
      this.#kept = new Int32Array(length + (length >> 2));
    }
    return this.#kept.subarray(0, length);
  }

  release(): void {
    if (this.#kept.length <= KEPT_PLACES) return;
    release(new Uint8Array(this.#kept.buffer));
    this.#kept = new Int32Array(0);
  }
}

const KEPT_PLACES = 1 << 20;
const heads = new Scratch();
const chains = new Scratch();

/** Gives back what a large file needed. */
export function releaseMatcher(): void {
  heads.release();
  chains.release();
}

/** Where seeds are in the old content, the latest first. One at a time in a thread. */
class SeedIndex {
  /** Where the match that was found last begins. */
  place = -1;
  readonly #old: Uint8Array;
  readonly #content: Uint8Array;
  readonly #oldView: DataView;
  readonly #contentView: DataView;
  readonly #heads: Int32Array;
  readonly #chains: Int32Array;
  readonly #step: number;
  readonly #bits: number;

  constructor(old: Uint8Array, content: Uint8Array) {
    this.#old = old;
    this.#content = content;
    this.#oldView = new DataView(old.buffer, old.byteOffset, old.byteLength);
    this.#contentView = new DataView(content.buffer, content.byteOffset, content.byteLength);
    const n = Math.max(0, old.length - SEED_BYTES + 1);
    const step = Math.max(n > EVERY_PLACE_BYTES ? 2 : 1, Math.ceil(n / MAX_PLACES));
    let bits = 8;
    // Few buckets stay in the processor's cache; a chain is longer for it, but is not followed far.
    while (1 << bits < n / step / 4 && 1 << bits < MAX_BUCKETS) bits++;
    this.#step = step;
    this.#bits = bits;
    this.#heads = heads.take(1 << bits).fill(-1);
    this.#chains = chains.take(Math.ceil(n / step));
    const view = this.#oldView;
    const [first, next] = [this.#heads, this.#chains];
    const down = 32 - bits;
    for (let at = 0; at < n; at += step) {
      const a = view.getInt32(at, true);
      const b = view.getInt32(at + 4, true);
      const c = view.getInt32(at + 8, true);
      // Runs of one byte are everywhere, and lead nowhere.
      if (a === b && b === c && a === ((a << 8) | (a >>> 24))) continue;
      const bucket = hash(a, b, c) >>> down;
      next[at / step] = first[bucket]!;
      first[bucket] = at;
    }
  }

  /** The longest match found for what starts at `at` in the new content; 0 for none. */
  longest(at: number): number {
    const content = this.#content;
    if (at + SEED_BYTES > content.length || this.#chains.length === 0) return 0;
    const view = this.#contentView;
    const a = view.getInt32(at, true);
    const b = view.getInt32(at + 4, true);
    const c = view.getInt32(at + 8, true);
    if (a === b && b === c && a === ((a << 8) | (a >>> 24))) return 0;
    const old = this.#old;
    const oldView = this.#oldView;
    let best = 0;
    let candidate = this.#heads[hash(a, b, c) >>> (32 - this.#bits)]!;
    for (let left = CHAIN; candidate >= 0 && left > 0; left--) {
      if (
        oldView.getInt32(candidate, true) === a &&
        oldView.getInt32(candidate + 4, true) === b &&
        (best === 0 || old[candidate + best] === content[at + best])
      ) {
        const length = 8 + runLength(old, content, candidate + 8, at + 8);
        if (length > best) {
          best = length;
          this.place = candidate;
          if (length >= LONG) break;
        }
      }
      candidate = this.#chains[this.#step === 1 ? candidate : candidate / this.#step]!;
    }
    return best;
  }
}

function hash(a: number, b: number, c: number): number {
  let h = Math.imul(a, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15) ^ b, 0x85ebca77);
  h = Math.imul(h ^ (h >>> 13) ^ c, 0xc2b2ae3d);
  return h ^ (h >>> 16);
}
