import { createReadStream } from 'node:fs';
import { pipeline, type Readable, Transform, type TransformCallback } from 'node:stream';
import { createInflateRaw } from 'node:zlib';
import { OstreeError } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';

/**
 * The content of a stored filez, of which the header says how long it is. Fails with `corrupt` where it cannot be
 * inflated or has another length; it never gives more bytes than the header says, however far they would inflate.
 */
export function inflatedContent(path: string, { checksum, size, bodyOffset }: FilezBody): Readable {
  const content = new ExactLength(size, `${checksum}.filez`);
  // Errors come out of `content`, and closing it early closes the file.
  pipeline(createReadStream(path, { start: bodyOffset }), createInflateRaw(), content, () => {});
  return content;
}

export interface FilezBody {
  checksum: Checksum;
  /** Bytes of content, unpacked. */
  size: number;
  /** Where in the file the compressed content starts. */
  bodyOffset: number;
}

class ExactLength extends Transform {
  readonly #object: string;
  readonly #size: number;
  #left: number;

  constructor(size: number, object: string) {
    super();
    this.#size = size;
    this.#left = size;
    this.#object = object;
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    this.#left -= chunk.length;
    if (this.#left < 0) done(this.#corrupt(`its content is longer than the ${this.#size} bytes of its header`));
    else done(null, chunk);
  }

  override _flush(done: TransformCallback): void {
    if (this.#left === 0) done();
    else done(this.#corrupt(`its content is ${this.#left} bytes shorter than the ${this.#size} of its header`));
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const isOurs = !error || error instanceof OstreeError || error.name === 'AbortError';
    done(isOurs ? error : this.#corrupt(`its content cannot be inflated: ${error.message}`, error));
  }

  #corrupt(what: string, cause?: Error): OstreeError {
    return new OstreeError('corrupt', `${this.#object}: ${what}`, { object: this.#object, cause });
  }
}
