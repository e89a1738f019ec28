import type { Source } from '../api/schema.ts';
import type { Database, Queryable } from '../database/open.ts';
import { outputsOf, type StoredOutputs } from '../executions/spec.ts';

/** A stored result: what a key makes, and from which git revisions. */
export interface Result {
  outputs: StoredOutputs;
  sources: Source[];
}

/** Stored results by key. They never change, so what was read once is kept, until it is known to be forgotten. */
export interface Results {
  /** A result that was loaded; undefined when there is none or it was not looked for. */
  get(key: string): Result | undefined;
  load(keys: Iterable<string>): Promise<void>;
  /** Takes out what retention has forgotten. */
  drop(keys: Iterable<string>): void;
}

const CACHED = 4096;

/**
 * Takes results for a run: from then on retention keeps them for it.
 *
 * @returns those that retention has forgotten meanwhile
 */
export async function takeResults(trx: Queryable, keys: readonly string[]): Promise<string[]> {
  if (keys.length === 0) return [];
  const taken = await trx
    .updateTable('results')
    .set({ used_at: Date.now() })
    .where('key', 'in', keys)
    .returning('key')
    .execute();
  const there = new Set(taken.map(({ key }) => key));
  return keys.filter((key) => !there.has(key));
}

export function createResults(db: Database): Results {
  const cache = new Map<string, Result>();
  return {
    get: (key) => cache.get(key),
    drop(keys) {
      for (const key of keys) cache.delete(key);
    },
    async load(keys) {
      const missing = [...new Set(keys)].filter((key) => !cache.has(key));
      if (missing.length === 0) return;
      const rows = await db.selectFrom('results').selectAll().where('key', 'in', missing).execute();
      for (const row of rows) {
        // Not below what one plan needs: a pass loads its keys, then reads them.
        if (cache.size >= CACHED + missing.length) cache.delete(cache.keys().next().value!);
        cache.set(row.key, { outputs: outputsOf(row), sources: JSON.parse(row.sources) as Source[] });
      }
    },
  };
}
