import type { Token } from '@treeline/server';
import { formatAge } from './duration.ts';
import { fields } from './fields.ts';
import { type Cell, formatTable } from './table.ts';
import { oneLine } from './text.ts';

/** Tokens as a table; those that were made from another one below it. */
export function tokenTable(tokens: readonly Token[], now: number): string {
  const rows = inTree(tokens).map(({ token, depth }): Cell[] => [
    token.id,
    depth === 0 ? token.name : `└${'─'.repeat(depth - 1)} ${token.name}`,
    whatItMay(token),
    whereItMay(token),
    { text: ending(token, now), ...(token.state === 'good' ? {} : { style: 'red' as const }) },
    token.lastUsedAt ? formatAge(Date.parse(token.lastUsedAt), now) : 'never',
  ]);
  return formatTable(
    [
      { header: 'id' },
      { header: 'name', shrink: true },
      { header: 'may', shrink: true },
      { header: 'on', shrink: true },
      { header: 'ends' },
      { header: 'used', align: 'right' },
    ],
    rows,
  );
}

/** One token, all that is known of it. */
export function formatToken(token: Token, now: number): string {
  const used = token.lastUsedAt
    ? `${formatAge(Date.parse(token.lastUsedAt), now)}${token.lastUsedFrom ? `, from ${token.lastUsedFrom}` : ''}`
    : 'never';
  const pairs: Array<[string, string]> = [
    ['name', token.name],
    ['id', token.certificateName ? token.id : `${token.id} (its text begins with tl_${token.id})`],
    ['role', token.role ?? 'none'],
    ['may', token.actions.join(', ') || 'nothing'],
    ['on', whereItMay(token)],
    ...(token.certificateName ? [['certificate', token.certificateName] as [string, string]] : []),
    ['ends', ending(token, now)],
    ['used', used],
    ['made', `${formatAge(Date.parse(token.createdAt), now)} by ${token.createdBy}`],
    ...(token.parent
      ? [['made from', `${token.parent.name} (${token.parent.id}), and ends with it`] as [string, string]]
      : []),
  ];
  return fields(pairs.map(([label, value]) => [label, oneLine(value)]));
}

function whatItMay(token: Token): string {
  return token.role === 'admin' ? 'everything' : token.actions.join(', ');
}

function whereItMay({ on }: Token): string {
  return on === null ? 'everywhere' : on.join(', ');
}

function ending(token: Token, now: number): string {
  if (token.revokedAt !== null) return `revoked ${formatAge(Date.parse(token.revokedAt), now)}`;
  if (token.expiresAt === null) return 'never';
  const at = Date.parse(token.expiresAt);
  if (at <= now) return `expired ${formatAge(at, now)}`;
  return new Date(at).toLocaleString('sv').slice(0, 16);
}

function inTree(tokens: readonly Token[]): { token: Token; depth: number }[] {
  const known = new Set(tokens.map(({ id }) => id));
  const below = (parent: string | null, depth: number): { token: Token; depth: number }[] =>
    tokens
      .filter((token) => (token.parent !== null && known.has(token.parent.id) ? token.parent.id : null) === parent)
      .flatMap((token) => [{ token, depth }, ...below(token.id, depth + 1)]);
  return below(null, 0);
}
