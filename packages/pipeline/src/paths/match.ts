/** One `/`-separated part of a pattern. */
type Part = { kind: 'any-depth' } | { kind: 'literal'; text: string } | { kind: 'wild'; symbols: readonly string[] };

type Pattern = {
  parts: readonly Part[];
  /** Whatever lies below a match is matched too. */
  below: boolean;
};

/**
 * Makes the test that `paths:` stands for. A path matches when any pattern does. Patterns and paths are relative to
 * the root of the repository:
 *
 * - `*` is any number of characters, `?` is one; neither is a `/`
 * - `**` as a whole part is any number of folders, also none; at the end it is everything below
 * - a pattern whose last part has no wildcard also means everything below it, if that is a folder; with a `/` at
 *   its end it means nothing else
 *
 * With `isFolder` the answer is whether the folder may hold something that matches: false means that the folder can
 * be left out unread. A leading `/` of the path is ignored; the root itself is always kept.
 *
 * Takes time in proportion to the lengths of pattern and path multiplied, whatever they contain.
 */
export function matchPaths(patterns: readonly string[]): (path: string, isFolder?: boolean) => boolean {
  const compiled = patterns.map(compile);
  return (path, isFolder = false) => {
    const segments = path.split('/').filter((segment) => segment !== '');
    if (segments.length === 0) return isFolder;
    return compiled.some((pattern) => matches(pattern, segments, isFolder));
  };
}

function compile(text: string): Pattern {
  const words = text.split('/').filter((word) => word !== '' && word !== '.');
  if (text.endsWith('/')) words.push('**');
  const parts: Part[] = [];
  for (const word of words) {
    if (word === '**') {
      if (parts.at(-1)?.kind !== 'any-depth') parts.push({ kind: 'any-depth' });
    } else if (/[*?]/.test(word)) {
      parts.push({ kind: 'wild', symbols: [...word.replace(/\*+/g, '*')] });
    } else {
      parts.push({ kind: 'literal', text: word });
    }
  }
  // "." alone is the whole repository, as a folder's name means everything below it.
  if (parts.length === 0) parts.push({ kind: 'any-depth' });
  return { parts, below: parts.at(-1)!.kind !== 'wild' };
}

/** Follows all ways through the pattern at once: `active[i]` = the parts before i have matched what was read. */
function matches({ parts, below }: Pattern, segments: readonly string[], isFolder: boolean): boolean {
  const end = parts.length;
  let active = new Array<boolean>(end + 1).fill(false);
  active[0] = true;
  skipAnyDepth(parts, active);
  for (const segment of segments) {
    const next = new Array<boolean>(end + 1).fill(false);
    let alive = false;
    for (let i = 0; i <= end; i++) {
      if (!active[i]) continue;
      if (i === end) {
        if (below) next[end] = true;
      } else {
        const part = parts[i]!;
        if (part.kind === 'any-depth') next[i === end - 1 ? end : i] = true;
        else if (part.kind === 'literal' ? part.text === segment : wildMatches(part.symbols, [...segment])) {
          next[i + 1] = true;
        }
      }
      alive ||= next[i] === true || next[i + 1] === true;
    }
    if (!alive) return false;
    skipAnyDepth(parts, next);
    active = next;
  }
  if (!isFolder) return active[end] === true;
  return active.some((is, i) => is && (i < end || below));
}

/** `**` may stand for no folder at all, but not at the end: `data/**` is what is below data, not data. */
function skipAnyDepth(parts: readonly Part[], active: boolean[]): void {
  for (let i = 0; i < parts.length - 1; i++) {
    if (active[i] && parts[i]!.kind === 'any-depth') active[i + 1] = true;
  }
}

/** After a mismatch only the last `*` can help by taking one more, so this never goes further back. */
function wildMatches(pattern: readonly string[], text: readonly string[]): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let taken = 0;
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p++;
      taken = t;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
