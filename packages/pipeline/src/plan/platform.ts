import type { KeyPlatform } from '../key/document.ts';
import type { RunsOn } from '../model.ts';
import type { PlatformPolicy } from './state.ts';

/** What a runner offers. `emulates` names an architecture, `gpu` or labels that it only pretends to have. */
export type RunnerOffer = {
  readonly arch: string;
  readonly gpu: boolean;
  readonly memoryBytes: number;
  readonly labels: readonly string[];
  readonly emulates: readonly string[];
};

/** The platform that goes into a job's key if whatever the policy emulates is emulated. */
export function emulatedPlatform(runsOn: RunsOn, policy: PlatformPolicy): KeyPlatform {
  const platform = realPlatform(runsOn, policy);
  const emulated = demandsOf(platform).filter((demand) => policy.emulate.includes(demand));
  return { ...platform, emulated: emulated.sort() };
}

/** The platform that goes into a job's key if nothing is emulated. */
export function realPlatform(runsOn: RunsOn, policy: PlatformPolicy): KeyPlatform {
  const labels = [...new Set(runsOn.labels)].sort();
  return { arch: runsOn.arch ?? policy.defaultArch, gpu: runsOn.gpu, labels, emulated: [] };
}

/**
 * Why this runner cannot take a job with this platform in its key; empty = it can. A demand that the key says is
 * emulated must be emulated, any other must be met for real: the key tells how the result was made.
 */
export function unmetDemands(
  platform: KeyPlatform,
  offer: RunnerOffer,
  options: { memoryBytes?: number | null } = {},
): string[] {
  const reasons: string[] = [];
  for (const demand of demandsOf(platform)) {
    const emulates = offer.emulates.includes(demand);
    const label = demand === platform.arch ? `arch ${demand}` : demand === 'gpu' ? 'a GPU' : `label ${demand}`;
    if (platform.emulated.includes(demand)) {
      if (!emulates) reasons.push(`needs ${label} emulated, and the runner does not emulate it`);
    } else if (emulates) {
      reasons.push(`needs ${label}, which the runner only emulates`);
    } else if (demand === platform.arch) {
      if (offer.arch !== demand) reasons.push(`needs ${label}, the runner is ${offer.arch}`);
    } else if (demand === 'gpu' ? !offer.gpu : !offer.labels.includes(demand)) {
      reasons.push(`needs ${label}, the runner does not have it`);
    }
  }
  const memory = options.memoryBytes ?? 0;
  if (memory > offer.memoryBytes) {
    reasons.push(`needs ${megabytes(memory)} of memory, the runner has ${megabytes(offer.memoryBytes)}`);
  }
  return reasons;
}

function demandsOf(platform: KeyPlatform): string[] {
  return [platform.arch, ...(platform.gpu ? ['gpu'] : []), ...platform.labels];
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MB`;
}
