/**
 * What a sandbox does to a script is a surprise to who wrote it: says what to do about it, going by the last that the
 * script printed before it failed. Null when that does not look like the sandbox's doing.
 */
export function sandboxAdvice(printed: string, o: { network: boolean }): string | null {
  if (/Read-only file system/i.test(printed)) return 'a job can write to /src, /out and /tmp only';
  if (!o.network && NO_NETWORK.test(printed)) {
    return 'a job has no network unless it asks: "network: true" in treeline.yaml';
  }
  return null;
}

/** As the C library, Python, curl, git and apt say it. */
const NO_NETWORK =
  /Network is unreachable|Temporary failure (in name resolution|resolving)|Name or service not known|Could not resolve|EAI_AGAIN|ENETUNREACH/i;
