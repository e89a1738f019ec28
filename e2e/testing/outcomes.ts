import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Outcome } from './ostree-client.ts';

/** The output of a command that has to succeed. */
export async function expectGood(outcome: Promise<Outcome>): Promise<string> {
  const { status, output } = await outcome;
  assert.equal(status, 0, output);
  return output.trim();
}

/** A command has to fail, and to say why. */
export async function expectRefused(outcome: Promise<Outcome>, why: RegExp): Promise<void> {
  const { status, output } = await outcome;
  assert.notEqual(status, 0, `it was not refused: ${output}`);
  assert.match(output, why);
}

/** Tries for half a minute. */
export async function eventually(attempt: () => Promise<Outcome>): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { status, output } = await attempt();
    if (status === 0) return;
    if (tries === 60) assert.fail(output);
    await sleep(500);
  }
}
