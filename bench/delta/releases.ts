import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bench } from '../suite.ts';

// Two releases of a real root file system: a point release of Debian, and the same with all updates since. Which
// updates there are depends on the day, so that two runs are comparable only on one; pairs in a run always are.

const mirror = 'http://deb.debian.org';
const suite = 'bookworm';
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

const sources = {
  old: [`deb ${mirror}/debian ${suite} main`],
  new: [
    `deb ${mirror}/debian ${suite} main`,
    `deb ${mirror}/debian ${suite}-updates main`,
    `deb ${mirror}/debian-security ${suite}-security main`,
  ],
} as const;

/** What a board with a camera and a network would have. */
const packages =
  'linux-image-amd64 systemd-sysv openssh-server python3 python3-requests python3-yaml git vim curl nginx bluez network-manager sudo openssl libgl1-mesa-dri gnupg rsync sqlite3 ca-certificates wpasupplicant';

export type Release = {
  name: 'old' | 'new';
  /** The file system as a folder, and as a tar with sorted names. */
  folder: string;
  tar: string;
};

/** Builds both, unless an earlier run has left them. Needs root and Debian's mirror; takes about five minutes. */
export async function buildReleases(bench: Bench, scratch: string): Promise<Release[]> {
  const releases: Release[] = [];
  for (const name of ['old', 'new'] as const) {
    const folder = join(scratch, `tree-${name}`);
    const tar = join(scratch, `${name}.tar`);
    if (!existsSync(`${folder}.done`)) {
      bench.say(`Installing the ${name} release with mmdebstrap …`);
      await build(bench, name, folder, tar);
      await writeFile(`${folder}.done`, '');
    }
    releases.push({ name, folder, tar });
  }
  return releases;
}

async function build(bench: Bench, name: 'old' | 'new', folder: string, tar: string): Promise<void> {
  const raw = `${tar}.raw.tar`;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const chosen = bench.small ? 'openssl ca-certificates' : packages;
  const options = [
    '--mode=root',
    '--variant=minbase',
    `--keyring=${keyring}`,
    `--include=${chosen.replaceAll(' ', ',')}`,
  ];
  await bench.prepare(
    'mmdebstrap',
    ...options,
    '--aptopt=APT::Install-Recommends "false"',
    suite,
    raw,
    ...sources[name],
  );
  // OSTree has no device nodes.
  await bench.prepare('tar', '-xf', raw, '-C', folder, '--exclude=./dev/*');
  await rm(raw);
  // An initrd is made on each machine from files of the tree, and compressed: there is nothing to be found in it.
  for (const file of await readdir(join(folder, 'boot')).catch(() => [])) {
    if (file.startsWith('initrd')) await rm(join(folder, 'boot', file));
  }
  await bench.prepare('tar', '--sort=name', '-cf', tar, '-C', folder, '.');
}
