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
  const waiters = new Map<string, string[]>([...waits.keys()].map((id) => [id, []]));
  for (const [id, on] of waits) {
    const distinct = new Set(on);
    missing.set(id, distinct.size);
    for (const other of distinct) waiters.get(other)!.push(id);
  }
  const free = [...missing].filter(([, count]) => count === 0).map(([id]) => id);
  free.sort(descending);
  const order: string[] = [];
  for (let id = free.pop(); id !== undefined; id = free.pop()) {
    order.push(id);
    missing.delete(id);
    for (const waiter of waiters.get(id)!) {
      const count = missing.get(waiter)! - 1;
      missing.set(waiter, count);
      if (count === 0) insert(free, waiter);
    }
  }
  return { order, rest: new Set(missing.keys()) };
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
