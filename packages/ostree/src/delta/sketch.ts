import type { Checksum } from '../formats/object-name.ts';
import { release } from './release.ts';
import { type ObjectSource, readContent } from './source-content.ts';

/** So many of the smallest hashes stand for a file. */
const SKETCH_SIZE = 32;
/** One of so many places is hashed; which, the content there decides. */
const PLACES_MASK = 0xfc000000;
/** How many hashes two sketches must share for the files to be worth comparing. */
const SHARED = 3;

/** The smallest hashes of stretches of some 30 bytes: two files share about as many as they share content. */
export type Sketch = Uint32Array;

export interface SketchOptions {
  source: ObjectSource;
  /** Temporary files are named after this. */
  temporary: string;
}

/** Sketches the content of regular files. */
export async function sketchObjects(objects: readonly Checksum[], options: SketchOptions): Promise<Sketch[]> {
  let temporaries = 0;
  const sketches: Sketch[] = [];
  for (const checksum of objects) {
    const content = await readContent(options.source, checksum, () => `${options.temporary}.${temporaries++}`);
    sketches.push(sketch(content));
    release(content);
  }
  return sketches;
}

/** A number for each byte, the same for ever. */
const GEAR = Uint32Array.from({ length: 256 }, (_, byte) => mix((byte + 1) * 0x9e3779b1));

export function sketch(content: Uint8Array): Sketch {
  const smallest = new Set<number>();
  let largest = 0xffffffff;
  let hash = 0;
  for (let at = 0; at < content.length; at++) {
    // Each byte is shifted out after 32 more: the hash is that of a window.
    hash = ((hash << 1) + GEAR[content[at]!]!) | 0;
    if ((hash & PLACES_MASK) !== 0) continue;
    const value = mix(hash);
    if (value >= largest || smallest.has(value)) continue;
    smallest.add(value);
    if (smallest.size > 2 * SKETCH_SIZE) largest = cut(smallest);
  }
  cut(smallest);
  return Uint32Array.from(smallest).sort();
}

/** Leaves the smallest; returns the largest of them. */
function cut(values: Set<number>): number {
  const sorted = [...values].sort((a, b) => a - b);
  for (const value of sorted.slice(SKETCH_SIZE)) values.delete(value);
  return sorted[SKETCH_SIZE - 1] ?? 0xffffffff;
}

function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Finds the file of a set that shares most with another. */
export class SketchIndex {
  readonly #byHash = new Map<number, number[]>();
  readonly #objects: readonly Checksum[];

  constructor(objects: readonly Checksum[], sketches: readonly Sketch[]) {
    this.#objects = objects;
    for (const [index, values] of sketches.entries()) {
      for (const value of values) {
        const list = this.#byHash.get(value);
        if (!list) this.#byHash.set(value, [index]);
        // What very many files have in common tells none of them apart.
        else if (list.length < MAX_LIST) list.push(index);
      }
    }
  }

  /** The most similar file; of several, the first; null when none is. */
  find(values: Sketch): Checksum | null {
    const shared = new Map<number, number>();
    for (const value of values) {
      for (const index of this.#byHash.get(value) ?? []) shared.set(index, (shared.get(index) ?? 0) + 1);
    }
    let best = -1;
    let most = Math.min(SHARED, values.length) - 1;
    for (const [index, count] of shared) {
      if (count > most || (count === most && best >= 0 && index < best)) {
        best = index;
        most = count;
      }
    }
    return best < 0 || most === 0 ? null : this.#objects[best]!;
  }
}

const MAX_LIST = 64;
