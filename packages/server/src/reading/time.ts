/** ms since the epoch as ISO 8601; null stays null. */
export function time(ms: number): string;
export function time(ms: number | null): string | null;
export function time(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

/** ms from start to end, or to now while there is no end; null before the start. */
export function span(start: number | null, end: number | null): number | null {
  return start === null ? null : (end ?? Date.now()) - start;
}
