import { dirname, resolve } from 'node:path';
import type { OstreeifyStep, SystemMade, SystemTarget } from '@treeline/board';
import type { Command } from 'commander';
import { list } from '../arguments.ts';
import { asRoot } from '../as-root.ts';
import { CliError } from '../errors.ts';
import { formatBytes } from '../output/bytes.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatDuration } from '../output/duration.ts';
import { liveLines } from '../output/progress.ts';
import { optionsOf, type Session } from '../session.ts';

type OstreeifyVerbOptions = {
  fromRepo?: string;
  repo?: string;
  ref?: string;
  subject?: string;
  kernel?: string;
  modules?: string[];
  hostname?: string;
};

const WORDS: Readonly<Record<OstreeifyStep, string>> = {
  copy: 'copying the root file system',
  check: 'looking at what it has',
  initramfs: 'making the initramfs',
  arrange: 'arranging the tree',
};

export function declare(command: Command, session: Session): void {
  command
    .description(
      "Make a distribution's root file system a tree that OSTree deploys and that boots. What is missing in it is said " +
        'first, all at once. The source stays as it is.',
    )
    .argument('<source>', 'a folder or tar, as mmdebstrap writes it; with --from-repo, a ref or commit')
    .argument('[folder]', 'the folder to make; or --repo and --ref')
    .option('--from-repo <repo>', 'repository that <source> is in')
    .option('--repo <repo>', 'commit the tree into this repository instead')
    .option('--ref <ref>', 'and make the commit this ref')
    .option('--subject <text>', 'subject of the commit')
    .option('--kernel <version>', 'which kernel, where the root file system has several')
    .option(
      '--modules <list>',
      'modules for the initramfs, and what they need, instead of what the distribution takes',
      list,
    )
    .option('--hostname <name>', "default: the distribution's name")
    .addHelpText(
      'after',
      `
Examples:
  mmdebstrap --include=systemd-sysv,udev,ostree,ostree-boot,linux-image-amd64,initramfs-tools,e2fsprogs bookworm root.tar
  treeline ostreeify root.tar system/
  treeline ostreeify root.tar --repo ./repo --ref os/base --modules virtio_blk,virtio_pci

Who is not root needs the package uidmap. What changes in the tree: docs/board.md`,
    )
    .action(async (source: string, folder: string | undefined, _: object, self: Command) => {
      await run(source, folder, optionsOf<OstreeifyVerbOptions>(self), session);
    });
}

async function run(
  source: string,
  folder: string | undefined,
  options: OstreeifyVerbOptions & { json?: boolean },
  session: Session,
): Promise<void> {
  const target = targetOf(folder, options);
  await asRoot();
  const { makeSystem } = await import('@treeline/board');
  const screen = liveLines(process.stderr);
  const began = Date.now();
  let made: SystemMade;
  try {
    made = await makeSystem(
      options.fromRepo === undefined ? { path: source } : { repo: options.fromRepo, rev: source },
      target,
      {
        work: 'folder' in target ? dirname(resolve(target.folder)) : resolve(target.repo, 'tmp'),
        ...{ kernel: options.kernel, modules: options.modules, hostname: options.hostname },
        signal: session.signal,
        onStep: (step) => screen.show([paint('dim', `${screen.tick()} ${WORDS[step]}`, process.stderr)]),
      },
    );
  } finally {
    screen.close();
  }
  const milliseconds = Date.now() - began;
  if (options.json) return printDocument({ ...made, milliseconds });
  const where = made.commit ?? made.folder ?? '';
  if (made.already) {
    printText(`${paint('bold', where)} is the same tree: the source was made for OSTree already`);
    return;
  }
  printText(`${paint('bold', where)} ${made.system}, ${made.architecture} (${formatDuration(milliseconds)})`);
  printText(`  kernel     ${made.kernel}`);
  printText(`  initramfs  ${formatBytes(made.initramfsBytes)}, by ${made.initramfsTool}`);
  printText(`  /var       ${made.var.entries} entries, made again by ${made.var.remade} lines of tmpfiles.d`);
  if (made.removed.length > 0) printText(`  removed    ${made.removed.join(', ')}`);
}

function targetOf(folder: string | undefined, options: OstreeifyVerbOptions): SystemTarget {
  const { repo, ref, subject } = options;
  if (folder !== undefined && repo === undefined && ref === undefined) return { folder };
  if (folder === undefined && repo !== undefined && ref !== undefined) return { repo, ref, subject };
  throw new CliError('usage', 'Say where the tree goes: a folder, or both --repo and --ref.');
}
