/** Name of the project that nobody has: its artifacts come with Treeline. */
export const BUILT_IN_PROJECT = 'treeline';

/** What comes with Treeline, and what it is for. */
export const BUILT_INS = {
  agent: 'the agent of a device, with its units: a layer of a system',
  boot: 'what boot loaders need to fall back: /grub, /uboot or /systemd-boot is a layer of a system',
  tools: 'programs for jobs: bin/ostreeify',
} as const;

export type BuiltInName = keyof typeof BUILT_INS;

export function isBuiltIn(name: string): name is BuiltInName {
  return Object.hasOwn(BUILT_INS, name);
}
