import type { BootEntry } from './entries.ts';

/** Boots in which an update may fail to prove good, before the boot loader takes the fallback by itself. */
export const BOOT_TRIES = 3;

export type BootLoaderKind = 'grub' | 'uboot' | 'systemd-boot' | 'none';

/**
 * What the agent does about a boot loader that counts. The loader takes one off before each boot of an update, and boots
 * the second entry when nothing is left; everything here is one small write on the EFI system partition, where the
 * loader can write, too.
 *
 * Every operation may be cut off by a loss of power and done again.
 */
export interface BootLoader {
  readonly kind: BootLoaderKind;
  /**
   * The loader reads OSTree's own entries at each boot, so that a deployment may be finished while the system goes down.
   */
  readonly readsOstree: boolean;
  /** Boots that are left before the fallback is taken; 0 when it was or will be taken; null when nothing is counted. */
  tries(): Promise<number | null>;
  /** Before the boot order changes: the boots that follow are counted. False where nothing counts. */
  arm(): Promise<boolean>;
  /** The boot order has changed: brings what is booted from the EFI system partition up to it. */
  publish(entries: readonly BootEntry[]): Promise<void>;
  /** The default proved good, or is not to be judged: nothing is counted any more. */
  proveGood(): Promise<void>;
  /** The next boot takes the fallback, as though the count had run out. False where that cannot be. */
  giveUp(): Promise<boolean>;
}

/** The same boot loader, whose count is read once: it changes by what is done here, and with a boot. */
export function rememberTries(loader: BootLoader): BootLoader {
  let known: Promise<number | null> | null = null;
  const changing = <T>(work: Promise<T>): Promise<T> => {
    known = null;
    return work.finally(() => {
      known = null;
    });
  };
  return {
    ...loader,
    tries() {
      known ??= loader.tries();
      const asked = known;
      asked.catch(() => {
        if (known === asked) known = null;
      });
      return asked;
    },
    arm: () => changing(loader.arm()),
    publish: (entries) => changing(loader.publish(entries)),
    proveGood: () => changing(loader.proveGood()),
    giveUp: () => changing(loader.giveUp()),
  };
}
