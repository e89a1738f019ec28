import { UsageError } from '../options.ts';

/**
 * The renaming of `--tar-pathname-filter=REGEX,REPLACEMENT`: every match of the expression is replaced, as
 * `g_regex_replace` does it, with `\1`, `\g<name>` and `\0` for what was matched.
 */
export function pathnameFilter(text: string): (path: string) => string {
  const comma = text.indexOf(',');
  if (comma < 0) throw new UsageError("Missing ',' in --tar-pathname-filter");
  let expression: RegExp;
  try {
    expression = new RegExp(text.slice(0, comma), 'gu');
  } catch (error) {
    throw new UsageError(`--tar-pathname-filter: ${(error as Error).message}`);
  }
  const parts = replacementParts(text.slice(comma + 1));
  return (path) =>
    path.replace(expression, (...args: unknown[]) => {
      const names = typeof args.at(-1) === 'object' ? (args.at(-1) as Record<string, string | undefined>) : {};
      const groups = args.slice(
        0,
        args.findIndex((argument) => typeof argument === 'number'),
      ) as (string | undefined)[];
      return parts
        .map((part) => {
          if (typeof part === 'string') return part;
          return (typeof part.group === 'number' ? groups[part.group] : names[part.group]) ?? '';
        })
        .join('');
    });
}

type Part = string | { group: number | string };

const ESCAPES: Record<string, string> = { t: '\t', n: '\n', v: '\v', r: '\r', f: '\f', a: '\x07', b: '\b', '\\': '\\' };

function replacementParts(text: string): Part[] {
  const parts: Part[] = [];
  let at = 0;
  for (const match of text.matchAll(/\\(?:g<(\w+)>|(\d{1,2})|x([0-9a-fA-F]{2})|(.))/gs)) {
    parts.push(text.slice(at, match.index));
    at = match.index + match[0].length;
    const [whole, name, digits, code, letter] = match;
    if (name !== undefined) parts.push({ group: /^\d+$/.test(name) ? Number(name) : name });
    else if (digits !== undefined) parts.push({ group: Number(digits) });
    else if (code !== undefined) parts.push(String.fromCharCode(Number.parseInt(code, 16)));
    else if (ESCAPES[letter!] !== undefined) parts.push(ESCAPES[letter!]!);
    else throw new UsageError(`--tar-pathname-filter: unknown escape ${whole} in the replacement`);
  }
  return [...parts, text.slice(at)];
}
