/** The boot loaders that fall back by themselves. */
export type Loader = 'grub' | 'uboot' | 'systemd-boot';

export const LOADERS: readonly Loader[] = ['grub', 'uboot', 'systemd-boot'];

/** Boots that an update gets to prove itself good. */
export const BOOT_TRIES = 3;

/** Partition label of the FAT partition, of every board; the root partition and its file system are `root`. */
export const ESP_LABEL = 'esp';
export const ROOT_LABEL = 'root';
