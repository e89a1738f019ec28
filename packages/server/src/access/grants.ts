import { ACTIONS, type Action } from './caller.ts';
import { type CompiledPattern, compilePattern, isInside, matchesPattern } from './patterns.ts';
import { ROLES, type Role } from './roles.ts';

/** What one token allows by itself, whatever it was made from. */
export interface Grant {
  readonly actions: ReadonlySet<Action>;
  /** Null: everywhere. */
  readonly patterns: readonly CompiledPattern[] | null;
}

export function createGrant(o: { role: Role | null; actions: readonly Action[]; patterns: string[] | null }): Grant {
  return {
    actions: new Set([...(o.role === null ? [] : ROLES[o.role]), ...o.actions]),
    patterns: o.patterns?.map(compilePattern) ?? null,
  };
}

/** Actions whose subjects patterns are about. The others are allowed everywhere or not at all. */
const LIMITED: ReadonlySet<Action> = new Set(['read', 'push', 'force', 'publish']);

/**
 * Whether a grant allows an action. Without a subject: `push`, `force` and `publish` anywhere; `read` everything that
 * the API shows, which a token that may do nothing but read from certain repositories may not.
 */
export function grantAllows(grant: Grant, action: Action, subject?: string): boolean {
  if (!grant.actions.has(action)) return false;
  if (grant.patterns === null || !LIMITED.has(action)) return true;
  if (subject === undefined) return action !== 'read' || grant.actions.size > 1;
  return grant.patterns.some((pattern) => matchesPattern(pattern, subject) || isWholeOf(pattern, action, subject));
}

/** `REPO:**` is all that there is in a published repository, so it allows to read the repository. */
function isWholeOf(pattern: CompiledPattern, action: Action, subject: string): boolean {
  return (
    action === 'read' &&
    pattern.text.endsWith(':**') &&
    matchesPattern(compilePattern(pattern.text.slice(0, -3)), subject)
  );
}

/** What a new grant has that the one it is made from lacks: empty when it is the narrower one. */
export function beyond(inner: Grant, outer: Grant): { actions: Action[]; patterns: string[] } {
  const { patterns } = outer;
  return {
    actions: ACTIONS.filter((action) => inner.actions.has(action) && !outer.actions.has(action)),
    patterns:
      patterns === null
        ? []
        : (inner.patterns ?? []).filter((pattern) => !isInside(pattern, patterns)).map((pattern) => pattern.text),
  };
}
