/** Lets those who name the same thing do something one after the other, within this process. */
export interface Turns {
  /**
   * Waits for the turn.
   *
   * @returns what ends it
   * @throws the signal's reason when it aborts before
   */
  take(name: string, signal?: AbortSignal): Promise<() => void>;
}

export function createTurns(): Turns {
  const tails = new Map<string, Promise<void>>();
  return {
    async take(name, signal) {
      const before = tails.get(name) ?? Promise.resolve();
      const mine = Promise.withResolvers<void>();
      const tail = before.then(() => mine.promise);
      tails.set(name, tail);
      void tail.then(() => {
        if (tails.get(name) === tail) tails.delete(name);
      });
      const { promise: aborted, resolve: abort } = Promise.withResolvers<void>();
      signal?.addEventListener('abort', () => abort(), { once: true });
      if (signal?.aborted) abort();
      await Promise.race([before, aborted]);
      if (signal?.aborted) {
        mine.resolve();
        signal.throwIfAborted();
      }
      return mine.resolve;
    },
  };
}
