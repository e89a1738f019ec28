import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { ImageRemote, ImageStep, WrittenImage } from '@treeline/board';
import type { Command } from 'commander';
import { asRoot } from '../as-root.ts';
import { shortPath } from '../connection/folder.ts';
import type { GlobalOptions } from '../connection/server.ts';
import { CliError } from '../errors.ts';
import { formatBytes } from '../output/bytes.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatDuration } from '../output/duration.ts';
import { liveLines } from '../output/progress.ts';
import { shortId } from '../output/words.ts';
import { resolveCommit } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';
import { bring } from '../workspace/bring.ts';

type ImageVerbOptions = GlobalOptions & {
  board: string;
  out: string;
  repo?: string;
  enrol?: string;
  remote?: string;
  remoteRef?: string;
  remoteKeys?: string;
};

const WORDS: Readonly<Record<ImageStep, string>> = {
  sysroot: 'deploying the commit',
  'boot-loader': 'making the boot loader',
  'file-systems': 'writing the file systems',
  'block-map': 'mapping blocks',
  compress: 'compressing',
};

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Make a disk image of a system, to be written to a disk or an SD card: partitions, boot loader, first deployment. ' +
        'Nothing is mounted, and the same input gives the same bytes. Beside it comes a block map for bmaptool.',
    )
    .argument('<commit>', 'what the server knows by that name: a channel, a release, PROJECT/ARTIFACT, a commit')
    .requiredOption('--board <file>', 'a board file, or the name of one that comes with Treeline')
    .requiredOption('--out <file>', 'the image: NAME.img, or with .xz, .zst or .zip compressed')
    .option('--repo <repo>', 'take <commit> from this repository instead, by ref or checksum')
    .option('--enrol <file>', 'JSON with what the agent enrols with: gateway, token, and maybe id, channel, hardwareId')
    .option('--remote <name=url>', 'an OSTree remote that `ostree admin upgrade` follows')
    .option('--remote-ref <ref>', 'the ref of it')
    .option('--remote-keys <file>', 'OpenPGP keys of which one has to have signed')
    .addHelpText(
      'after',
      `
Examples:
  treeline image robot/stable --board qemu-x86_64 --out robot.img
  treeline image robot/stable --board raspberry-pi-4 --enrol enrol.json --out robot.img.xz
  treeline image os/base --repo ./repo --board my-board.yaml --out os.img.zst

  bmaptool copy robot.img.xz /dev/sdX

Who is not root needs the package uidmap. Board files: docs/board.md`,
    )
    .action(async (commit: string, _: object, self: Command) => {
      await run(commit, optionsOf<ImageVerbOptions>(self), session);
    });
}

async function run(rev: string, options: ImageVerbOptions, session: Session): Promise<void> {
  const remote = remoteOf(options);
  const enrolment = options.enrol === undefined ? undefined : readEnrolment(options.enrol);
  const { compressionOf, readBoardFile, writeImage } = await import('@treeline/board');
  const out = resolve(options.out);
  // Refuses what is no name of an image, before the server is asked for anything.
  compressionOf(out);
  const board = await readBoardFile(options.board);
  await asRoot();
  const screen = liveLines(process.stderr);
  const began = Date.now();
  const folder = dirname(out);
  makeFolder(folder);
  const work = mkdtempSync(join(folder, '.treeline-image-'));
  let made: WrittenImage;
  try {
    const source =
      options.repo === undefined
        ? await fromServer(rev, work, options, session, (text) => screen.show([text]))
        : { repo: options.repo, commit: rev };
    made = await writeImage(out, {
      ...{ ...source, board, remote, enrolment, signal: session.signal },
      onStep: (step, progress) => {
        const done = progress ? ` ${Math.floor((100 * progress.done) / progress.total)} %` : '';
        screen.show([paint('dim', `${screen.tick()} ${WORDS[step]}${done}`, process.stderr)]);
      },
    });
  } finally {
    screen.close();
    rmSync(work, { recursive: true, force: true });
  }
  const milliseconds = Date.now() - began;
  if (options.json) return printDocument({ ...made, milliseconds });
  const size = `${formatBytes(made.fileBytes)}, a disk of ${formatBytes(made.imageBytes)}`;
  printText(`${paint('bold', shortPath(made.path))} ${size} (${formatDuration(milliseconds)})`);
  printText(`  boots  ${shortId(made.commit)} on ${made.board}`);
  printText(`  map    ${shortPath(made.bmap)}: ${formatBytes(made.mappedBytes)} to write`);
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    // Something on the way there is a file.
    if (!(cause instanceof Error && 'code' in cause && /^(EEXIST|ENOTDIR)$/.test(String(cause.code)))) throw cause;
    throw new CliError('usage', `${folder} is no folder: an image cannot be put there.`, { cause });
  }
}

/** Into a repository of its own beside the image: hard links, where the store is on the same file system. */
async function fromServer(
  rev: string,
  work: string,
  options: ImageVerbOptions,
  session: Session,
  show: (text: string) => void,
): Promise<{ repo: string; commit: string }> {
  const commit = await resolveCommit(clientOf(session, options), rev);
  const { createRepo } = await import('@treeline/ostree');
  const path = join(work, 'repo');
  await bring(await createRepo(path), commit, {
    ...{ options, ref: 'image', signal: session.signal },
    onProgress: ({ objects, objectsKnown }) =>
      show(paint('dim', `getting the commit: ${objects} of ${objectsKnown} objects`, process.stderr)),
  });
  return { repo: path, commit };
}

function remoteOf({ remote, remoteRef, remoteKeys }: ImageVerbOptions): ImageRemote | undefined {
  if (remote === undefined) {
    if (remoteRef === undefined && remoteKeys === undefined) return undefined;
    throw new CliError('usage', '--remote-ref and --remote-keys are for --remote.');
  }
  const [, name, url] = /^([A-Za-z0-9][\w.-]*)=(\S+:\/\/\S+)$/.exec(remote) ?? [];
  if (name === undefined || url === undefined || remoteRef === undefined) {
    throw new CliError('usage', 'A remote has a name, an address and a ref.', {
      hint: '--remote origin=https://example.org/repo --remote-ref robot/stable',
    });
  }
  if (remoteKeys !== undefined) readNamed(remoteKeys, 'It has the public keys, as `gpg --export` writes them.');
  return { name, url, ref: remoteRef, gpgKeys: remoteKeys };
}

/** A file that an option names. */
function readNamed(path: string, hint: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : '';
    if (code === 'ENOENT') throw new CliError('not-found', `There is no ${path}.`, { hint, cause });
    if (code === 'EISDIR') throw new CliError('usage', `${path} is a folder.`, { hint, cause });
    throw cause;
  }
}

/** What is wrong with it should be found here, not on a robot. */
function readEnrolment(path: string): string {
  const hint = 'It is JSON such as {"gateway": "https://…:8421", "token": "…", "channel": "robot/stable"}.';
  const text = readNamed(path, hint).toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CliError('usage', `${path} is no JSON.`, { cause, hint });
  }
  const { gateway, token } = (value ?? {}) as { gateway?: unknown; token?: unknown };
  if (typeof gateway === 'string' && /^https:\/\//.test(gateway) && typeof token === 'string' && token !== '') {
    return text.endsWith('\n') ? text : `${text}\n`;
  }
  throw new CliError('usage', `${path} has to name a gateway (https://…) and a token.`, { hint });
}
