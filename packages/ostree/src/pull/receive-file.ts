import { OstreeError } from '../errors.ts';
import { decodeFilezHeader, type FileHeader, MAX_HEADER_BYTES } from '../formats/file.ts';
import { type Checksum, loosePath } from '../formats/object-name.ts';
import { assertFreeSpace } from '../repo/free-space.ts';
import type { Transaction } from '../repo/transaction.ts';
import type { StoredObject } from '../work/store-file.ts';
import { type HttpSource, networkError, type Reply, readBody, strongValidator, TransientError } from './http.ts';
import {
  forgetPartial,
  openPartial,
  openTemporary,
  type Partial,
  rememberValidator,
  restartPartial,
} from './partial.ts';

/** Beyond this an object is received into a file. More than any header, so that one is read by then. */
const IN_MEMORY_BYTES = MAX_HEADER_BYTES + 64 * 1024;
/** What may be inflated in memory; a small object can stand for a large file of zeros. */
const INFLATE_IN_MEMORY_BYTES = 32 * 1024 * 1024;
const WRITE_BYTES = 1024 * 1024;
const SPACE_EVERY_BYTES = 64 * 1024 * 1024;

/** What came: bytes to be checked and stored with others, or null when it has been stored already. */
export type ReceivedFile = { data: Buffer } | { stored: StoredObject };

/** The same before a file is checked. */
type Spooled = { data: Buffer } | { spooled: true };

/**
 * Receives a content object: a small one into memory, a large one into a partial file from which it is checked
 * and stored, or which is left for a later pull when the connection is lost.
 *
 * @param resume there may be a partial file from before
 * @param count told of bytes as they arrive
 * @returns null when the remote has no such object
 */
export async function receiveFile(
  tx: Transaction,
  source: HttpSource,
  checksum: Checksum,
  {
    resume,
    count,
    store,
    accept,
  }: {
    resume: boolean;
    count: (bytes: number) => void;
    /** Runs the storing of a file, so that nothing is flushed meanwhile. */
    store: <T>(work: () => Promise<T>) => Promise<T>;
    /** Throws for a file that is not wanted, before it is stored. */
    accept?: (header: FileHeader) => void;
  },
): Promise<ReceivedFile | null> {
  const spool = new Spool(tx, checksum, count);
  try {
    if (resume) await spool.open();
    for (let attempt = 0; ; attempt++) {
      try {
        const received = await source.get(
          `objects/${loosePath(checksum, 'filez')}`,
          (reply) => spool.receive(reply),
          () => spool.range(),
        );
        if (received === null) return null;
        if ('data' in received) {
          accept?.(decodeFilezHeader(received.data, `${checksum}.filez`).header);
          if (spool.partial) forgetPartial(spool.partial);
          return received;
        }
        if (accept) accept(await spool.header());
        const stored = await store(() => tx.importFilezFile(checksum, spool.partial!.path));
        forgetPartial(spool.partial!);
        return { stored };
      } catch (error) {
        if (!(error instanceof OstreeError) || error.code !== 'corrupt') throw error;
        if (spool.partial) forgetPartial(spool.partial);
        // Two halves of different downloads are not necessarily what the remote has: once more, in one piece.
        if (!spool.resumed || attempt > 0) throw error;
        await spool.close();
      }
    }
  } finally {
    await spool.close();
  }
}

class Spool {
  partial: Partial | undefined;
  /** What is in the file came from more than one answer. */
  resumed = false;
  readonly #tx: Transaction;
  readonly #checksum: Checksum;
  readonly #count: (bytes: number) => void;
  #limit = Number.POSITIVE_INFINITY;

  constructor(tx: Transaction, checksum: Checksum, count: (bytes: number) => void) {
    this.#tx = tx;
    this.#checksum = checksum;
    this.#count = count;
  }

  get #object(): string {
    return `${this.#checksum}.filez`;
  }

  async open(): Promise<Partial> {
    // Another pull may be receiving the same object: then this one is not for resuming.
    this.partial =
      (await openPartial(this.#tx.repo, this.#checksum)) ?? (await openTemporary(this.#tx.temporaryPath()));
    return this.partial;
  }

  async close(): Promise<void> {
    await this.partial?.handle.close();
    this.partial = undefined;
    this.resumed = false;
  }

  range(): Record<string, string> | undefined {
    const { size, validator } = this.partial ?? { size: 0, validator: undefined };
    if (size === 0) return undefined;
    return { range: `bytes=${size}-`, ...(validator === undefined ? {} : { 'if-range': validator }) };
  }

  async receive(reply: Reply): Promise<Spooled> {
    const { partial } = this;
    if (reply.status === 416) {
      this.resumed = true;
      reply.body.discard();
      if (partial && reply.headers['content-range'] === `bytes */${partial.size}`) return { spooled: true };
      if (partial) await restartPartial(partial);
      throw new TransientError(`${reply.what}: the server cannot send the rest`);
    }
    this.resumed = reply.status !== 200 && (this.partial?.size ?? 0) > 0;
    if (partial && partial.size > 0) {
      const whole = /^bytes (\d+)-/.exec(reply.headers['content-range'] ?? '');
      if (reply.status === 206 && Number(whole?.[1]) === partial.size) {
        const start = await this.#start(partial);
        if (partial.size <= IN_MEMORY_BYTES) {
          await restartPartial(partial);
          return this.#body(reply, start);
        }
        this.#learnLimit(start);
      } else {
        await restartPartial(partial);
        if (reply.status === 206)
          throw new TransientError(`${reply.what}: the server sends another part than asked for`);
      }
    } else if (reply.status === 206) throw new TransientError(`${reply.what}: a part that nobody asked for`);
    return this.#body(reply);
  }

  /** What the file that came says of itself. */
  async header(): Promise<FileHeader> {
    return decodeFilezHeader(await this.#start(this.partial!), this.#object).header;
  }

  async #start(partial: Partial): Promise<Buffer> {
    const start = Buffer.alloc(IN_MEMORY_BYTES);
    const { bytesRead } = await partial.handle.read(start, 0, start.length, 0);
    return start.subarray(0, bytesRead);
  }

  /** Deflate never makes much more of a file than it is; what goes on beyond that is no object. */
  #learnLimit(start: Buffer): void {
    const { size, bodyOffset } = decodeFilezHeader(start, this.#object);
    this.#limit = bodyOffset + size + Math.ceil(size / 8) + 64 * 1024;
  }

  #assertWithinLimit(length: number): void {
    if (length <= this.#limit) return;
    const object = this.#object;
    throw new OstreeError('corrupt', `${object}: goes on beyond byte ${this.#limit}, more than its header announces`, {
      object,
      offset: this.#limit,
    });
  }

  /** @param start what came before, when that is little */
  async #body(reply: Reply, start?: Buffer): Promise<Spooled> {
    const { partial } = this;
    const announced = reply.length ?? Number.NaN;
    if (!partial && announced <= IN_MEMORY_BYTES) {
      const data = await this.#whole(reply, announced);
      this.#count(data.length);
      return this.#small(data);
    }
    let chunks: Buffer[] = start ? [start] : [];
    let held = start?.length ?? 0;
    let inFile = partial !== undefined && partial.size > 0;
    let spaceAt = 0;
    const write = async (): Promise<void> => {
      const target = this.partial ?? (await this.open());
      if (target.size >= spaceAt) {
        spaceAt = target.size + SPACE_EVERY_BYTES;
        const rest = Number.isNaN(announced) ? held : Math.max(held, announced - target.size);
        assertFreeSpace(this.#tx.repo, Math.min(rest, this.#limit));
      }
      const data = Buffer.concat(chunks, held);
      chunks = [];
      held = 0;
      reply.pause(true);
      for (let at = 0; at < data.length; ) {
        const { bytesWritten } = await target.handle.write(data, at);
        at += bytesWritten;
        target.size += bytesWritten;
      }
      reply.pause(false);
    };
    try {
      for await (const chunk of reply.body) {
        chunks.push(chunk);
        held += chunk.length;
        this.#count(chunk.length);
        if (!inFile && held > IN_MEMORY_BYTES) {
          this.#learnLimit(Buffer.concat(chunks, held));
          this.#assertWithinLimit(announced);
          const target = this.partial ?? (await this.open());
          if (target.size > 0) await restartPartial(target); // somebody else's, from before
          rememberValidator(target, strongValidator(reply));
          inFile = true;
        }
        if (inFile && held >= WRITE_BYTES) {
          this.#assertWithinLimit(this.partial!.size + held);
          await write();
        }
      }
      if (inFile) {
        this.#assertWithinLimit(this.partial!.size + held);
        await write();
        return { spooled: true };
      }
    } catch (error) {
      // What came before the connection broke is kept for the next try.
      if (held > 0 && !(error instanceof OstreeError && error.code === 'corrupt')) {
        if (inFile) await write().catch(() => {});
        else await this.#keep(reply, Buffer.concat(chunks, held));
      }
      if (error instanceof OstreeError) {
        if (error.code === 'corrupt' && this.partial) forgetPartial(this.partial);
        throw error;
      }
      throw systemError(error, reply);
    }
    return this.#small(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, held));
  }

  /** A body in memory; what there is of it when the connection breaks is kept for the next try. */
  async #whole(reply: Reply, length: number): Promise<Buffer> {
    try {
      return await readBody(reply, length);
    } catch (error) {
      if (error instanceof TransientError) await this.#keep(reply, reply.body.taken());
      throw error;
    }
  }

  async #keep(reply: Reply, data: Buffer): Promise<void> {
    const validator = strongValidator(reply);
    if (data.length === 0 || validator === undefined) return;
    const target = this.partial ?? (await this.open());
    await restartPartial(target);
    rememberValidator(target, validator);
    await target.handle.writeFile(data);
    target.size = data.length;
  }

  /** What is to be unpacked in memory stays there; what unpacks to very much goes to a file after all. */
  async #small(data: Buffer): Promise<Spooled> {
    if (data.length < 16 || data.readBigUInt64BE(8) <= BigInt(INFLATE_IN_MEMORY_BYTES)) return { data };
    const target = this.partial ?? (await this.open());
    await restartPartial(target);
    await target.handle.writeFile(data);
    target.size = data.length;
    return { spooled: true };
  }
}

/** Tells a full disk from a broken connection: only the second is worth another try. */
function systemError(error: unknown, reply: Reply): OstreeError {
  const code = error instanceof Error && 'syscall' in error && 'code' in error ? String(error.code) : '';
  if (/^(ENOSPC|EDQUOT|EIO|EROFS|EFBIG)$/.test(code)) {
    return new OstreeError('io', `cannot store what ${reply.what} sends: ${code}`, { cause: error });
  }
  return networkError(reply.what, error);
}
