import type { ObjectId } from './object-list.ts';

/** An object that is to be sent. */
export interface ObjectToSend extends ObjectId {
  /** How much of it has been received already. */
  from: number;
}

/** What is found to be missing, on its way to the streams that send it. */
export class SendQueue {
  #objects: ObjectToSend[] = [];
  #next = 0;
  #closed = false;
  #failure: { error: unknown } | undefined;
  #waiting: (() => void)[] = [];

  get length(): number {
    return this.#objects.length - this.#next;
  }

  add(object: ObjectToSend): void {
    this.#objects.push(object);
    this.#wake();
  }

  /** Nothing more will come. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  /** Whoever waits, or asks from now on, gets this error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  /** The next one, when there is one; null when there will be none. */
  async take(): Promise<ObjectToSend | null> {
    await this.until(1);
    return this.takeNow();
  }

  /** The next one if it is there. */
  takeNow(): ObjectToSend | null {
    const object = this.#objects[this.#next];
    if (!object) return null;
    this.#next++;
    if (this.#next > 4096 && this.#next * 2 > this.#objects.length) {
      this.#objects = this.#objects.slice(this.#next);
      this.#next = 0;
    }
    return object;
  }

  /** Puts one back that was taken. */
  untake(object: ObjectToSend): void {
    if (this.#next > 0) this.#objects[--this.#next] = object;
    else this.#objects.unshift(object);
  }

  /** Waits until so many are there; false when there will not be. Throws what was failed with. */
  async until(count: number): Promise<boolean> {
    for (;;) {
      if (this.#failure) throw this.#failure.error;
      if (this.length >= count) return true;
      if (this.#closed) return false;
      await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
