import type { Queryable } from './open.ts';

/**
 * Next number of a series, starting with 1. Must be called in a transaction: the counter's row stays locked until the
 * transaction ends, so numbers become visible in order, on PostgreSQL too (an identity column would not promise that).
 */
export async function nextNumber(trx: Queryable, name: 'audit' | 'events' | 'runs' | 'releases'): Promise<number> {
  const row = await trx
    .insertInto('counters')
    .values({ name, value: 1 })
    .onConflict((conflict) => conflict.column('name').doUpdateSet((eb) => ({ value: eb('counters.value', '+', 1) })))
    .returning('value')
    .executeTakeFirstOrThrow();
  return row.value;
}
