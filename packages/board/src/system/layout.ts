/** Top-level folders that people write to: links into /var, so that they outlive an update. */
export const LINKED: Readonly<Record<string, string>> = {
  home: 'var/home',
  root: 'var/roothome',
  opt: 'var/opt',
  srv: 'var/srv',
  mnt: 'var/mnt',
  media: 'run/media',
};

/** Where the package database is: it belongs to the system that it describes, so it is updated with it. */
export const DPKG_DATABASE = 'usr/lib/sysimage/dpkg';

/** What /var held, for tmpfiles.d to copy from. */
export const FACTORY = 'usr/share/factory';

/** The file of tmpfiles.d that makes /var again. */
export const TMPFILES = 'usr/lib/tmpfiles.d/treeline-var.conf';

/** Written last into a tree that is done, and what another run knows it by. */
export const DONE = 'usr/lib/treeline/system.json';
