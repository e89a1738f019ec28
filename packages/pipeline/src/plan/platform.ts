import type { KeyPlatform } from '../key/document.ts';

/** What a runner offers, and which of it it only pretends. */
export type RunnerOffer = {
  readonly arch: string;
  readonly gpu: boolean;
  readonly memoryBytes: number;
  readonly labels: readonly string[];
  readonly emulates: readonly string[];
};

/** Why this runner cannot take the job; empty = it can. */
export function unmetDemands(
  _platform: KeyPlatform,
  _offer: RunnerOffer,
  _options: { memoryBytes?: number | null } = {},
): string[] {
  return [];
}
