/** What each node waits for, by id. Every id that is waited for is a key. */
export type Waits = ReadonlyMap<string, readonly string[]>;

export type Ordering = {
  /** Each after what it waits for; among those that could come next, the smallest id. */
  readonly order: readonly string[];
  /** What could not be ordered: in a cycle, or waiting for one. */
  readonly rest: ReadonlySet<string>;
};

/** Topological order (Kahn), the same for the same graph in whatever order it is given. */
export function sortTopologically(waits: Waits): Ordering {
  const missing = new Map<string, number>();
  const waiters = new Map<string, string[]>();
  for (const [id, on] of waits) {
    const distinct = new Set(on);
    missing.set(id, distinct.size);
    for (const other of distinct) waiters.set(other, [...(waiters.get(other) ?? []), id]);
  }
  const free = [...missing].filter(([, count]) => count === 0).map(([id]) => id);
  free.sort(descending);
  const order: string[] = [];
  for (let id = free.pop(); id !== undefined; id = free.pop()) {
    order.push(id);
    missing.delete(id);
    for (const waiter of waiters.get(id) ?? []) {
      const count = missing.get(waiter)! - 1;
      missing.set(waiter, count);
      if (count === 0) insert(free, waiter);
    }
  }
  return { order, rest: new Set(missing.keys()) };
}

/**
 * Cycles among `rest` of an ordering: each as the ids that wait for each other, smallest first, the last one waiting
 * for the first. Finds at least one of each group of cycles that hang together, and never the same twice.
 */
export function findCycles(waits: Waits, rest: ReadonlySet<string>): string[][] {
  const cycles: string[][] = [];
  const visited = new Set<string>();
  for (const start of [...rest].sort()) {
    const walk: string[] = [];
    let at: string | undefined = start;
    // What cannot be ordered always waits for something that cannot either, so each walk ends where one went before.
    while (at !== undefined && !visited.has(at)) {
      visited.add(at);
      walk.push(at);
      at = (waits.get(at) ?? []).filter((id) => rest.has(id)).sort()[0];
    }
    const from = at === undefined ? -1 : walk.indexOf(at);
    if (from >= 0) cycles.push(smallestFirst(walk.slice(from)));
  }
  return cycles;
}

function smallestFirst(cycle: string[]): string[] {
  const first = cycle.indexOf([...cycle].sort()[0]!);
  return [...cycle.slice(first), ...cycle.slice(0, first)];
}

function descending(a: string, b: string): number {
  return a < b ? 1 : a > b ? -1 : 0;
}

/** Into a list in descending order. */
function insert(list: string[], id: string): void {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]! > id) low = middle + 1;
    else high = middle;
  }
  list.splice(low, 0, id);
}
