import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Fault } from '@treeline/board';

/** What differs between the two kinds of board. */
export interface Kind {
  name: 'x86_64' | 'aarch64';
  board: string;
  loader: 'grub' | 'uboot';
  kernel: string;
  debian: 'amd64' | 'arm64';
  /** What goes into the initramfs; null: what the distribution would take. */
  modules: readonly string[] | null;
}

/** The releases of Debian that are made into systems, by what their archive calls them. */
const SUITES: Readonly<Record<string, string>> = { 12: 'bookworm', 13: 'trixie' };

export function suiteOf(release: string): string {
  const suite = SUITES[release];
  if (suite === undefined) throw new Error(`Debian ${release}? Known are ${Object.keys(SUITES).join(' and ')}`);
  return suite;
}

export const KINDS: Record<Kind['name'], Kind> = {
  x86_64: {
    ...{ name: 'x86_64', board: 'qemu-x86_64', loader: 'grub', kernel: 'linux-image-cloud-amd64', debian: 'amd64' },
    modules: null,
  },
  aarch64: {
    ...{ name: 'aarch64', board: 'qemu-aarch64', loader: 'uboot', kernel: 'linux-image-arm64', debian: 'arm64' },
    // All that a general kernel has is thousands of files, each looked at by programs that are emulated: minutes.
    modules: ['virtio_pci', 'virtio_blk'],
  },
};

/** Where releases go that have no channel of their own. */
export const CHANNEL = 'board/stable';

/** Everything that boots, takes updates, and answers on the network; documentation and translations stay out. */
function packagesOf({ kind, initramfs }: Contents): string {
  const packages = [kind.kernel, 'systemd', 'systemd-sysv', 'udev', 'dbus', 'kmod', initramfs, 'zstd'];
  return [...packages, 'ostree', 'ostree-boot', 'nodejs', 'ca-certificates', 'e2fsprogs', 'iproute2', 'procps'].join(
    ',',
  );
}

/** What a project's systems are made of. */
export interface System {
  kind: Kind;
  /** Of Debian: see `suiteOf`. */
  suite: string;
  /** The package whose program makes the initramfs. */
  initramfs: 'initramfs-tools' | 'dracut';
}

interface Contents extends System {
  channel: string;
  trial: Trial | null;
}

/** The pipeline: a whole Debian, made into a tree that boots, and what this project puts on top of it. */
function pipelineOf(contents: Contents): string {
  const { kind, suite, channel, trial } = contents;
  const modules = (kind.modules ?? []).map((name) => ` --module ${name}`).join('');
  const excluded = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*'];
  return `jobs:
  debian:
    image: host
    root: true
    network: true
    paths: []
    inputs: { tools: treeline/tools }
    timeout: 40m
    disk: 6G
    run: |
      # The initramfs is made once, by ostreeify: the one of the kernel's package would be thrown away.
      export INITRD=No
      mmdebstrap --quiet --mode=root --variant=minbase --architectures=${kind.debian} \\
        --include=${packagesOf(contents)} \\
        ${excluded.map((path) => `--dpkgopt='path-exclude=${path}'`).join(' ')} \\
        ${suite} /tmp/root
      chroot /tmp/root systemctl enable --quiet systemd-networkd
      /in/tools/bin/ostreeify --hostname board${modules} /tmp/root "$OUT/debian"
      mkdir "$OUT/kernel" && ls "$OUT/debian/usr/lib/modules" >"$OUT/kernel/version"
    outputs: { debian: debian, kernel: kernel }

  system:
    compose:
      - tree: debian
      - tree: treeline/boot
        from: /${kind.loader}
      - tree: treeline/agent
      - source: root
        at: /
    output: system
${trial === null ? '' : tryOf(kind, trial)}
publish:
  - artifact: system
    channel: ${channel}
${trial === null ? '' : '    after: [try]\n'}`;
}

/** A board job that a release waits for, with what the board suffers meanwhile. */
export interface Trial {
  faults: readonly Fault[];
}

/** Its limit is the longest that its legs can take. */
function tryOf(kind: Kind, { faults }: Trial): string {
  return `
  try:
    board: ${kind.board}
    system: system
    faults: [${faults.join(', ')}]
    timeout: 1h
`;
}

const NETWORK = '[Match]\nType=ether\n\n[Network]\nDHCP=yes\n';

/**
 * Looks often, and says on the console what it does. An emulated processor hashes a system for a minute; that damage is found
 * is tested in packages/agent.
 */
const AGENT = 'poll: 3s\nconsole: true\nverify: false\n';

const APP = '[Unit]\nDescription=The app\n\n[Service]\nExecStart=/usr/bin/app\nRestart=always\n';

/** The app has to run, and may not be broken. */
const CHECK = `#!/bin/sh
set -eu
read -r version </usr/share/app/version
echo "app $version"
test "$version" != broken || { echo 'the app of this version is broken'; exit 1; }
systemctl is-active --quiet app.service
`;

/** The git repository of the project. Each release is a commit. */
export class Project {
  readonly path: string;
  /** Where its releases go. */
  readonly channel: string;
  readonly #contents: Contents;
  readonly #stamp: string | null;

  /** `stamp`: its channel and its systems are other ones than those of any project with another stamp. */
  constructor(path: string, system: System, { trial, stamp }: { trial?: Trial; stamp?: string } = {}) {
    this.path = path;
    this.channel = stamp === undefined ? CHANNEL : `board/${stamp}`;
    this.#contents = { ...system, channel: this.channel, trial: trial ?? null };
    this.#stamp = stamp ?? null;
    mkdirSync(path, { recursive: true });
    this.#git('init', '--quiet', '--initial-branch=main');
  }

  /** The first release. */
  begin(): void {
    this.#write('treeline.yaml', pipelineOf(this.#contents));
    if (this.#stamp !== null) this.#write('root/usr/share/app/stamp', `${this.#stamp}\n`);
    this.#write('root/usr/etc/systemd/network/10-wired.network', NETWORK);
    this.#write('root/usr/etc/treeline/agent.yaml', AGENT);
    this.#write('root/usr/lib/systemd/system/app.service', APP);
    this.#write('root/usr/lib/systemd/system/multi-user.target.d/app.conf', '[Unit]\nWants=app.service\n');
    this.#write('root/usr/bin/app', '#!/bin/sh\nexec sleep infinity\n', 0o755);
    this.#write('root/usr/lib/treeline/check/required.d/10-app', CHECK, 0o755);
    this.version('A');
  }

  /** Changes what boards suffer in the releases from now on. */
  suffer(faults: readonly Fault[]): void {
    this.#contents.trial = { faults };
    this.#write('treeline.yaml', pipelineOf(this.#contents));
  }

  /** A release that differs in one file. */
  version(name: string): void {
    this.#write('root/usr/share/app/version', `${name}\n`);
    this.#commit(`Release ${name}`);
  }

  /** A release whose files are broken as told: path to content. Undone by `mend`. */
  breakFiles(name: string, files: Record<string, string>): void {
    for (const [path, content] of Object.entries(files)) this.#write(`root/${path}`, content, 0o755);
    this.#commit(`Release ${name}`);
  }

  mend(files: readonly string[]): void {
    for (const path of files) rmSync(join(this.path, 'root', path));
  }

  #write(path: string, content: string, mode = 0o644): void {
    const full = join(this.path, path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, content);
    chmodSync(full, mode);
  }

  #commit(subject: string): void {
    this.#git('add', '--all');
    this.#git('commit', '--quiet', '--message', subject);
  }

  #git(...args: string[]): void {
    const identity = ['-c', 'user.name=Board', '-c', 'user.email=board@example.org'];
    execFileSync('git', ['-C', this.path, ...identity, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
}
