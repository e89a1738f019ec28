import type { Waits } from './order.ts';

/**
 * One cycle, a shortest through its smallest id, of every set of nodes that all wait for each other. A cycle is the
 * list of its ids, smallest first; each waits for the next and the last for the first.
 */
export function findCycles(waits: Waits, among: ReadonlySet<string>): string[][] {
  const cycles: string[][] = [];
  for (const component of components(waits, among)) {
    const cycle = shortestCycle(waits, component);
    if (cycle) cycles.push(cycle);
  }
  return cycles.sort((a, b) => (a[0]! < b[0]! ? -1 : 1));
}

/** Breadth first from the smallest id back to itself. undefined for a single node that does not wait for itself. */
function shortestCycle(waits: Waits, component: ReadonlySet<string>): string[] | undefined {
  const start = [...component].sort()[0]!;
  const cameFrom = new Map<string, string>();
  const queue = [start];
  for (const id of queue) {
    for (const next of inside(waits, id, component)) {
      if (next === start) {
        const path = [id];
        for (let at = id; at !== start; path.push(at)) at = cameFrom.get(at)!;
        return path.reverse();
      }
      if (cameFrom.has(next)) continue;
      cameFrom.set(next, id);
      queue.push(next);
    }
  }
  return undefined;
}

/**
 * Strongly connected components (Tarjan). With a stack of its own: the depth of a graph must not become the depth of
 * the program's stack.
 */
function components(waits: Waits, among: ReadonlySet<string>): Set<string>[] {
  const found: Set<string>[] = [];
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const open: string[] = [];
  const isOpen = new Set<string>();
  for (const root of among) {
    if (index.has(root)) continue;
    const calls: { id: string; next: string[] }[] = [];
    const enter = (id: string) => {
      low.set(id, index.size);
      index.set(id, index.size);
      open.push(id);
      isOpen.add(id);
      calls.push({ id, next: inside(waits, id, among) });
    };
    enter(root);
    for (let call = calls.at(-1); call !== undefined; call = calls.at(-1)) {
      const { id } = call;
      const next = call.next.pop();
      if (next !== undefined) {
        if (!index.has(next)) enter(next);
        else if (isOpen.has(next)) low.set(id, Math.min(low.get(id)!, index.get(next)!));
        continue;
      }
      calls.pop();
      const caller = calls.at(-1);
      if (caller) low.set(caller.id, Math.min(low.get(caller.id)!, low.get(id)!));
      if (low.get(id) !== index.get(id)) continue;
      const component = new Set(open.splice(open.indexOf(id)));
      for (const member of component) isOpen.delete(member);
      found.push(component);
    }
  }
  return found;
}

function inside(waits: Waits, id: string, among: ReadonlySet<string>): string[] {
  return (waits.get(id) ?? []).filter((other) => among.has(other)).sort();
}
