import { globSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';

/** Something that takes bytes from others, with valid bytes to start from. */
export interface FuzzTarget {
  /** Unique; the name of its folder in the corpus. */
  name: string;
  /** Valid inputs. They must be accepted. */
  samples: readonly Buffer[];
  /** What one input costs, about: how many inputs of a whole run it gets. */
  cost: 'memory' | 'disk' | 'network';
  /**
   * Takes an input. Returns when it was accepted, and throws OstreeError when it was refused; whatever else it throws
   * is a fault.
   */
  feed(input: Buffer): void | Promise<void>;
  close?(): Promise<void>;
}

/** Where targets may write. Nothing may appear in `base` but `inside`. */
export interface FuzzScratch {
  base: string;
  inside: string;
}

export type MakeTargets = (scratch: FuzzScratch) => FuzzTarget[] | Promise<FuzzTarget[]>;

/** An accepted input that breaks a promise. */
export class PromiseBroken extends Error {
  override readonly name = 'PromiseBroken';
}

/** One value has one serialisation: what was accepted must be what encoding makes of it. */
export function assertCanonical(input: Uint8Array, encoded: Uint8Array): void {
  if (Buffer.compare(input, encoded) !== 0) {
    throw new PromiseBroken(`accepted ${hex(input)}, which is encoded as ${hex(encoded)}`);
  }
}

/** What was read, written and read again is the same. */
export function assertStable(first: unknown, again: unknown): void {
  if (!isDeepStrictEqual(first, again)) throw new PromiseBroken('read, written and read again, it is something else');
}

function hex(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(0, 200)).toString('hex');
  return bytes.length > 200 ? `${text}… (${bytes.length} bytes)` : text;
}

/** All targets whose name contains one of these; all if there are none. */
export async function loadTargets(scratch: FuzzScratch, only: readonly string[] = []): Promise<FuzzTarget[]> {
  const folder = join(import.meta.dirname, 'targets');
  const targets: FuzzTarget[] = [];
  for (const file of globSync('*.ts', { cwd: folder }).sort()) {
    const { makeTargets } = (await import(join(folder, file))) as { makeTargets: MakeTargets };
    targets.push(...(await makeTargets(scratch)));
  }
  return targets.filter(({ name }) => only.length === 0 || only.some((part) => name.includes(part)));
}
