import { OstreeError } from '../errors.ts';

/** Takes exact numbers of bytes from a stream of chunks. */
export class ByteReader {
  offset = 0;
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  async #fill(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return false;
      this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    return true;
  }

  #take(length: number): Buffer {
    const taken = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(length);
    this.offset += taken.length;
    return taken;
  }

  /** At least one and at most `limit` bytes. */
  async some(limit: number): Promise<Buffer> {
    if (!(await this.#fill())) throw invalidArchive('the archive ends too early', this.offset);
    return this.#take(limit);
  }

  /** So many bytes; null at the end of the stream where that is expected. */
  async exactly(length: number, orEnd = false): Promise<Buffer | null> {
    if (this.#chunk.length >= length) return this.#take(length);
    if (orEnd && !(await this.#fill())) return null;
    const data = Buffer.allocUnsafe(length);
    for (let at = 0; at < length; ) at += (await this.some(length - at)).copy(data, at);
    return data;
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) left -= (await this.some(left)).length;
  }

  /** Reads to the end, so that whoever writes into a pipe is not cut off, and a compressed stream is checked whole. */
  async drain(): Promise<void> {
    while (await this.#fill()) this.#take(this.#chunk.length);
  }
}

/** An error about what lies at a place of an archive. */
export function invalidArchive(what: string, offset: number): OstreeError {
  return new OstreeError('invalid', `tar: ${what} at byte ${offset}`, { offset });
}
