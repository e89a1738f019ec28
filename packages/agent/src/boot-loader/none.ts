import type { BootLoader } from './boot-loader.ts';

/** A boot loader that counts nothing: going back is the agent's alone, as long as it runs. */
export const NO_BOOT_LOADER: BootLoader = {
  kind: 'none',
  readsOstree: true,
  tries: async () => null,
  arm: async () => false,
  publish: async () => {},
  proveGood: async () => {},
  giveUp: async () => false,
};
