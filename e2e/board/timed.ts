/** Does something, and tells how long it took. */
export async function timed<T>(what: string, action: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await action();
  console.log(`${((performance.now() - start) / 1000).toFixed(1).padStart(7)} s  ${what}`);
  return result;
}
