import { type FileHandle, open } from 'node:fs/promises';
import { OstreeError } from '../errors.ts';
import type { PushSession } from './session.ts';

/**
 * The part of a large object that has been received: a file that only one request writes at a time. One that comes
 * later takes it over, since the connection of the earlier one may be dead without anybody knowing. It stays claimed
 * until the object is checked, so that nothing is changed that was looked at.
 */
export class PartFile {
  readonly name: string;
  readonly path: string;
  /** Bytes in the file, and those that wait to be written. */
  size: number;
  readonly #session: PushSession;
  readonly #handle: FileHandle;
  readonly #released = Promise.withResolvers<void>();
  #chunks: Buffer[] = [];
  #held = 0;
  #stopped = false;
  #closed: Promise<void> | undefined;
  /** What is being done to the file; a stop waits for it. */
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(session: PushSession, name: string, { handle, size }: { handle: FileHandle; size: number }) {
    this.#session = session;
    this.#handle = handle;
    this.name = name;
    this.path = session.partPath(name);
    this.size = size;
  }

  /** Null when the object has become whole in the meantime. */
  static async open(session: PushSession, name: string): Promise<PartFile | null> {
    for (let other = session.writers.get(name); other; other = session.writers.get(name)) {
      other.stop();
      await other.stopped;
    }
    if (session.names.has(name)) return null;
    // Claimed before anything is waited for.
    const claim = Promise.withResolvers<void>();
    session.writers.set(name, { stop: () => {}, stopped: claim.promise });
    try {
      const handle = await open(session.partPath(name), 'a+', 0o644);
      const { size } = await handle.stat();
      const part = new PartFile(session, name, { handle, size });
      session.parts.add(name);
      session.writers.set(name, { stop: () => void part.#stop(), stopped: part.#released.promise });
      return part;
    } catch (error) {
      session.writers.delete(name);
      throw error;
    } finally {
      claim.resolve();
    }
  }

  /** Says where the next bytes belong: at the end of what there is, or at the beginning of everything. */
  async startAt(offset: number): Promise<void> {
    await this.#do(async () => {
      if (offset === 0 && this.size > 0) {
        this.#chunks = [];
        this.#held = 0;
        await this.#handle.truncate(0);
        this.size = 0;
      }
    });
    if (offset === this.size) return;
    throw new OstreeError('conflict', `${this.name}: ${this.size} bytes of it are here, and these begin at ${offset}`, {
      object: this.name,
      hint: 'Ask what is missing, and go on from there.',
    });
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    this.size += chunk.length;
  }

  /** Writes what waits, if it is more than `above` bytes. */
  async flush(above: number): Promise<void> {
    if (this.#held <= above) return;
    await this.#do(async () => {
      const data = Buffer.concat(this.#chunks, this.#held);
      this.#chunks = [];
      this.#held = 0;
      for (let at = 0; at < data.length; ) at += (await this.#handle.write(data, at)).bytesWritten;
    });
  }

  #do<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(() => {
      if (!this.#stopped) return work();
      throw new OstreeError('conflict', `${this.name}: another request goes on with it`, { object: this.name });
    });
    this.#tail = done.catch(() => {});
    return done;
  }

  async #stop(): Promise<void> {
    this.#stopped = true;
    await this.close();
    this.release();
  }

  /** Writes the rest and closes the file; it stays claimed. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      if (!this.#stopped) await this.flush(0).catch(() => {});
      await this.#tail;
      await this.#handle.close();
    })();
    return this.#closed;
  }

  /** Lets others have it. */
  release(): void {
    if (this.#session.writers.get(this.name)?.stopped === this.#released.promise) {
      this.#session.writers.delete(this.name);
    }
    this.#released.resolve();
  }
}
