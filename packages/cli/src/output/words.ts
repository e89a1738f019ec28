/** `1 job`, `3 jobs`. */
export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : plural}`;
}

/** A commit or git revision as people say it: its first characters. */
export function shortId(checksum: string): string {
  return checksum.slice(0, 10);
}
