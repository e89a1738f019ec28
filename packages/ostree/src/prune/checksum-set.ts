import type { Checksum } from '../formats/object-name.ts';

const BYTES = 32;

/**
 * A set of checksums as bytes: some 150 bytes each at most, and no string for each, so that a repository of millions
 * of objects can be walked. Each has a number: how many were there when it was added. Open addressing; the checksums
 * are hashes already.
 */
export class ChecksumSet {
  size = 0;
  #slots: Buffer;
  /** Number of the checksum in each slot, plus one; 0 where there is none. */
  #taken: Uint32Array;
  #mask: number;
  readonly #scratch = Buffer.alloc(BYTES);

  constructor(capacity = 1024) {
    const length = 2 ** Math.ceil(Math.log2(capacity * 2));
    this.#slots = Buffer.alloc(length * BYTES);
    this.#taken = new Uint32Array(length);
    this.#mask = length - 1;
  }

  /** Adds the 32 bytes at `at`. Returns whether they are new. */
  addBytes(data: Buffer, at: number): boolean {
    const slot = this.#find(data, at);
    if (this.#taken[slot] !== 0) return false;
    data.copy(this.#slots, slot * BYTES, at, at + BYTES);
    this.#taken[slot] = ++this.size;
    if (this.size * 2 > this.#mask) this.#grow();
    return true;
  }

  /** The number of the checksum whose 32 bytes are at `at`; -1 when it is not in the set. */
  numberOfBytes(data: Buffer, at: number): number {
    return this.#taken[this.#find(data, at)]! - 1;
  }

  /** The number of a checksum; -1 when it is not in the set. */
  numberOf(checksum: Checksum): number {
    this.#scratch.write(checksum, 'hex');
    return this.numberOfBytes(this.#scratch, 0);
  }

  add(checksum: Checksum): boolean {
    this.#scratch.write(checksum, 'hex');
    return this.addBytes(this.#scratch, 0);
  }

  has(checksum: Checksum): boolean {
    this.#scratch.write(checksum, 'hex');
    return this.#taken[this.#find(this.#scratch, 0)] !== 0;
  }

  /** The same for a checksum whose first two digits are the name of a folder, and the others begin that of a file. */
  hasNamed(folder: string, file: string): boolean {
    this.#scratch.write(folder, 0, 1, 'hex');
    this.#scratch.write(file, 1, BYTES - 1, 'hex');
    return this.#taken[this.#find(this.#scratch, 0)] !== 0;
  }

  /** Adds a checksum that is named so. Returns whether it is new. */
  addNamed(folder: string, file: string): boolean {
    this.#scratch.write(folder, 0, 1, 'hex');
    this.#scratch.write(file, 1, BYTES - 1, 'hex');
    return this.addBytes(this.#scratch, 0);
  }

  /** The slot that holds these bytes, or the one in which they would be. */
  #find(data: Buffer, at: number): number {
    const words = this.#slots;
    let slot = data.readUInt32LE(at) & this.#mask;
    while (this.#taken[slot] !== 0) {
      const place = slot * BYTES;
      if (words.compare(data, at, at + BYTES, place, place + BYTES) === 0) return slot;
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }

  #grow(): void {
    const [slots, taken] = [this.#slots, this.#taken];
    const length = taken.length * 2;
    this.#slots = Buffer.alloc(length * BYTES);
    this.#taken = new Uint32Array(length);
    this.#mask = length - 1;
    for (let slot = 0; slot < taken.length; slot++) {
      if (taken[slot] === 0) continue;
      const place = this.#find(slots, slot * BYTES);
      slots.copy(this.#slots, place * BYTES, slot * BYTES, (slot + 1) * BYTES);
      this.#taken[place] = taken[slot]!;
    }
  }
}
