import type { Queryable } from '../database/open.ts';
import { time } from '../reading/time.ts';
import type { AuditPage } from './schema.ts';

export interface AuditFilter {
  actor?: string | undefined;
  /** `release.publish`, or `release.` for all that begin with it; lower-case letters, dots and hyphens. */
  action?: string | undefined;
  subject?: string | undefined;
  address?: string | undefined;
  /** ms, both included. */
  since?: number | undefined;
  until?: number | undefined;
  /** Only entries with a lower id. */
  before?: number | undefined;
  limit: number;
}

/** Entries of the audit log, newest first. */
export async function readAudit(db: Queryable, filter: AuditFilter): Promise<AuditPage> {
  let query = db
    .selectFrom('audit')
    .selectAll()
    .orderBy('id', 'desc')
    .limit(filter.limit + 1);
  for (const name of ['actor', 'subject', 'address'] as const) {
    const value = filter[name];
    if (value !== undefined) query = query.where(name, '=', value);
  }
  const { action, since, until, before } = filter;
  // An action has no character that LIKE takes for another.
  if (action?.endsWith('.')) query = query.where('action', 'like', `${action}%`);
  else if (action !== undefined) query = query.where('action', '=', action);
  if (since !== undefined) query = query.where('created_at', '>=', since);
  if (until !== undefined) query = query.where('created_at', '<=', until);
  if (before !== undefined) query = query.where('id', '<', before);
  const rows = await query.execute();
  const entries = rows.slice(0, filter.limit).map((row) => ({
    ...{ id: row.id, at: time(row.created_at), actor: row.actor, token: row.token, address: row.address },
    ...{ action: row.action, subject: row.subject, data: JSON.parse(row.data) as Record<string, unknown> },
  }));
  return { entries, next: rows.length > filter.limit ? (entries.at(-1)?.id ?? null) : null };
}
