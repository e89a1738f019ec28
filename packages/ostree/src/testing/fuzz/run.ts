import { hash } from 'node:crypto';
import { lstatSync, readdirSync } from 'node:fs';
import { OstreeError } from '../../errors.ts';
import { mutate } from './mutate.ts';
import { Random } from './random.ts';
import { type FuzzScratch, type FuzzTarget, PromiseBroken } from './target.ts';

/** An input that a target did not take as it should. */
export interface Fault {
  target: string;
  input: Buffer;
  /** What it did instead of accepting the input or throwing OstreeError. */
  what: string;
}

/** The input of a target with this number: always the same for the same seed. */
export function inputOf(target: FuzzTarget, seed: string, index: number): Buffer {
  return mutate(target.samples, new Random(seed, target.name, index));
}

/** Feeds one input. Null when the target behaved; `accepted` says how. */
export async function feed(target: FuzzTarget, input: Buffer): Promise<{ accepted: boolean; fault: Fault | null }> {
  const before = hash('sha256', input);
  const fault = (what: string): { accepted: boolean; fault: Fault } => ({
    accepted: false,
    fault: { target: target.name, input, what },
  });
  try {
    await target.feed(input);
    return hash('sha256', input) === before ? { accepted: true, fault: null } : fault('it changed its input');
  } catch (error) {
    if (error instanceof PromiseBroken) return fault(error.message);
    if (error instanceof OstreeError) {
      return error.message === '' ? fault('an OstreeError without a message') : { accepted: false, fault: null };
    }
    return fault(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}

/** What lies beside the folder that targets may write into: it must stay empty. */
export function strayFiles({ base, inside }: FuzzScratch): string[] {
  return readdirSync(base).filter((name) => lstatSync(`${base}/${name}`).ino !== lstatSync(inside).ino);
}

/** How many inputs each target gets of so many: those that go through a disk or a network get fewer. */
export function shares(targets: readonly FuzzTarget[], mutations: number): Map<FuzzTarget, number> {
  const weights = { memory: 200, disk: 10, network: 1 } as const;
  const total = targets.reduce((sum, { cost }) => sum + weights[cost], 0);
  return new Map(targets.map((target) => [target, Math.ceil((mutations * weights[target.cost]) / total)]));
}
