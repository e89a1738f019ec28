/** Wakes those who wait for "something changed, look again". Nothing is lost between looking and waiting. */
export interface Wakeup {
  /** Number of notifications so far; read it before looking. */
  readonly version: number;
  notify(): void;
  /** Resolves once `version` has grown past `seen`, after `ms`, or when `signal` aborts; never rejects. */
  past(seen: number, ms: number, signal?: AbortSignal): Promise<void>;
}

export function createWakeup(): Wakeup {
  let version = 0;
  const waiting = new Set<() => void>();
  return {
    get version() {
      return version;
    },
    notify() {
      version += 1;
      for (const resolve of [...waiting]) resolve();
    },
    past(seen, ms, signal) {
      if (version > seen || signal?.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const done = () => {
          clearTimeout(timer);
          waiting.delete(done);
          signal?.removeEventListener('abort', done);
          resolve();
        };
        const timer = setTimeout(done, ms);
        waiting.add(done);
        signal?.addEventListener('abort', done);
      });
    },
  };
}
