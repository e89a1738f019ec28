import { z } from 'zod';

/** Wildcards of one pattern: what compares two patterns takes time that grows with them. */
const MOST_WILDCARDS = 8;
/** Steps after which a comparison of patterns is given up, as if it had failed. */
const MOST_STEPS = 20_000;

/**
 * Which refs and channels a token is for: `robot/edge` is the ref, `robot/*` every ref of one more part, `robot/**` all
 * below, `public:robot/**` channels of a published repository, `public` the repository itself. `*` stands for
 * characters but `/` and `:`, `**` for characters but `:`. There are no other special characters.
 */
export const Pattern = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[A-Za-z0-9_.\-/:*]+$/, 'expected a ref or REPOSITORY:CHANNEL, with * and ** for what varies')
  .refine((text) => text.split(':').length <= 2, 'a pattern has at most one ":", between repository and channel')
  .refine((text) => !text.includes('***'), 'expected * or **, not more stars')
  .refine(
    (text) => (text.match(/\*+/g) ?? []).length <= MOST_WILDCARDS,
    `a pattern has at most ${MOST_WILDCARDS} wildcards`,
  );

/** One step of a pattern: a character, or any run of characters without those named. */
type Step = { char: string } | { not: string };

/** A pattern that was taken apart. */
export interface CompiledPattern {
  readonly text: string;
  readonly steps: readonly Step[];
}

export function compilePattern(text: string): CompiledPattern {
  const steps = (text.match(/\*\*|\*|[^*]/g) ?? []).map((part): Step => {
    if (part === '**') return { not: ':' };
    return part === '*' ? { not: '/:' } : { char: part };
  });
  return { text, steps };
}

/** Whether a subject is one of those that a pattern stands for. Takes time linear in both. */
export function matchesPattern(pattern: CompiledPattern, subject: string): boolean {
  let places = settle([pattern], [[0, 0]]);
  for (const char of subject) {
    places = advance([pattern], places, char);
    if (places.length === 0) return false;
  }
  return accepts([pattern], places);
}

/**
 * Whether all that `inner` stands for, one of `outer` stands for as well. Exact, but for pairs of patterns that would
 * take too long: those count as not inside.
 */
export function isInside(inner: CompiledPattern, outer: readonly CompiledPattern[]): boolean {
  // Both are walked at once over every text that matters: each character that occurs in any of them, the two that
  // wildcards treat differently, and one that stands for all others.
  const chars = new Set(['/', ':', '\0', ...inner.text, ...outer.flatMap((pattern) => [...pattern.text])]);
  const inners = [inner];
  const start: [Place[], Place[]] = [
    settle(inners, [[0, 0]]),
    settle(
      outer,
      outer.map((_, index): Place => [index, 0]),
    ),
  ];
  const seen = new Set<string>([key(start)]);
  const waiting = [start];
  for (let pair = waiting.pop(); pair !== undefined; pair = waiting.pop()) {
    const [mine, theirs] = pair;
    if (accepts(inners, mine) && !accepts(outer, theirs)) return false;
    for (const char of chars) {
      const next: [Place[], Place[]] = [advance(inners, mine, char), advance(outer, theirs, char)];
      if (next[0].length === 0 || seen.has(key(next))) continue;
      if (seen.size >= MOST_STEPS) return false;
      seen.add(key(next));
      waiting.push(next);
    }
  }
  return true;
}

/** Where a text can be in one of several patterns: which one, and before which step. */
type Place = readonly [pattern: number, step: number];

function key([mine, theirs]: [Place[], Place[]]): string {
  return `${mine.join(';')}|${theirs.join(';')}`;
}

/** All places that are reached without another character: a wildcard may stand for nothing. In order, each once. */
function settle(patterns: readonly CompiledPattern[], places: readonly Place[]): Place[] {
  const reached = new Map<number, Place>();
  for (const [pattern, first] of places) {
    const { steps } = patterns[pattern]!;
    for (let step = first; ; step += 1) {
      reached.set(pattern * 1000 + step, [pattern, step]);
      const here = steps[step];
      if (here === undefined || 'char' in here) break;
    }
  }
  return [...reached].sort(([a], [b]) => a - b).map(([, place]) => place);
}

function advance(patterns: readonly CompiledPattern[], places: readonly Place[], char: string): Place[] {
  const next: Place[] = [];
  for (const [pattern, step] of places) {
    const here = patterns[pattern]!.steps[step];
    if (here === undefined) continue;
    if ('char' in here) {
      if (here.char === char) next.push([pattern, step + 1]);
    } else if (!here.not.includes(char)) next.push([pattern, step]);
  }
  return settle(patterns, next);
}

function accepts(patterns: readonly CompiledPattern[], places: readonly Place[]): boolean {
  return places.some(([pattern, step]) => step === patterns[pattern]!.steps.length);
}
